# vision.mk - tests of the image half of plugins/phi4-multimodal, and of the media worker.
EXTRA_DIST += tests/golden/images tests/oracle/image_golden.py tests/golden/image_crops.txt \
	tests/oracle/image_crops_golden.py tests/golden/vision tests/oracle/vision_golden.py \
	tests/golden/multimodal tests/oracle/multimodal_golden.py \
	tests/golden/multimodal_native tests/oracle/multimodal_native_golden.py
if HAVE_PICTURES
check_PROGRAMS += tests/fuzz/fuzz_image
tests_fuzz_fuzz_image_SOURCES = tests/fuzz/fuzz_image.c tests/fuzz/replay.c
tests_fuzz_fuzz_image_LDADD = libpicture.la
endif
dist_check_SCRIPTS += tests/test_demo_mm.sh
if HAVE_MEDIA
TESTS += tests/test_demo_mm.sh
tests/test_demo_mm.log: airlock-server airlock-media-worker plugins/phi4-multimodal.la tests/fakes/model.la tests/fakes/lora.la
if HAVE_CHECK
check_PROGRAMS += tests/test_media tests/fakes/media-worker tests/test_phi4_multimodal \
	tests/test_media_turns
TESTS += tests/test_media tests/test_phi4_multimodal tests/test_media_turns
# Opens plugins/.libs/phi4-multimodal.so as a host does.
tests_test_phi4_multimodal_SOURCES = tests/test_phi4_multimodal.c tests/multimodal_support.h tests/golden_file.h
tests_test_phi4_multimodal_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_phi4_multimodal_LDADD = $(CHECK_LIBS) -lm
EXTRA_tests_test_phi4_multimodal_DEPENDENCIES = plugins/phi4-multimodal.la airlock-media-worker
tests_test_media_turns_SOURCES = tests/test_media_turns.c tests/multimodal_support.h tests/golden_file.h
tests_test_media_turns_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_test_media_turns_LDADD = $(CHECK_LIBS) -lm
EXTRA_tests_test_media_turns_DEPENDENCIES = plugins/phi4-multimodal.la airlock-media-worker
tests_test_media_SOURCES = tests/test_media.c tests/golden_file.h \
	plugins/phi4-multimodal/media_seal.c plugins/phi4-multimodal/media_seal.h
tests_test_media_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_test_media_LDADD = libmediaclient.la libbase.la $(CHECK_LIBS)
tests_fakes_media_worker_SOURCES = tests/fakes/media_worker.c
endif
endif
if HAVE_CHECK
check_PROGRAMS += tests/test_image_crops tests/test_vision_encoder
TESTS += tests/test_image_crops tests/test_vision_encoder
tests_test_vision_encoder_SOURCES = tests/test_vision_encoder.c tests/encoder_device.h tests/golden_file.h
tests_test_vision_encoder_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JSONC_CFLAGS)
tests_test_vision_encoder_LDADD = libvision.la libengine.la libops.la libbase.la $(CHECK_LIBS)
tests_test_image_crops_SOURCES = tests/test_image_crops.c tests/golden_file.h
tests_test_image_crops_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_image_crops_LDADD = libvision.la libbase.la $(CHECK_LIBS)
endif
