# fuzz.mk - fuzz targets: their corpora are replayed by make check; tests/fuzz/fuzz.sh looks for more.
# A target is tests/fuzz/fuzz_NAME.c with tests/fuzz/replay.c in check_PROGRAMS; its corpus is
# tests/fuzz/corpus/NAME.
EXTRA_DIST += tests/fuzz/fuzz.sh tests/fuzz/corpus
dist_check_SCRIPTS += tests/fuzz/replay.sh
TESTS += tests/fuzz/replay.sh
