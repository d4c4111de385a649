# local.mk - the files of src/client; compiled apart from libbase, which brings json-c along.
bin_PROGRAMS += airlock-client
airlock_client_SOURCES = src/client/main.c src/client/connect.c src/client/connect.h \
	src/client/relay.c src/client/relay.h src/client/oneshot.c src/client/oneshot.h \
	src/client/http_answer.c src/client/http_answer.h \
	src/common/error.c src/common/error.h src/common/bytes.c src/common/bytes.h \
	src/common/io.c src/common/io.h src/common/strip.c src/common/strip.h src/common/limits.h
airlock_client_CFLAGS = $(AM_CFLAGS)
# `make CLIENT_LDFLAGS=-all-static` makes a client that runs in a container without libc.
airlock_client_LDFLAGS = $(AM_LDFLAGS) $(CLIENT_LDFLAGS)
man1_MANS += docs/man/airlock-client.1
EXTRA_DIST += docs/man/airlock-client.1
