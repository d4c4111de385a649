# audio.mk - tests of the audio half of plugins/phi4-multimodal, and of media in a prompt.
EXTRA_DIST += tests/golden/audio tests/oracle/audio_golden.py \
	tests/golden/audio_encoder tests/oracle/audio_encoder_golden.py \
	tests/oracle/compare_random_multimodal.py
if HAVE_SOUND
if HAVE_CHECK
audio_tests = tests/test_audio_decode tests/test_audio_features tests/test_audio_encoder
check_PROGRAMS += $(audio_tests)
TESTS += $(audio_tests)
audio_test_cflags = $(AM_CFLAGS) $(CHECK_CFLAGS) $(SNDFILE_CFLAGS)
tests_test_audio_decode_SOURCES = tests/test_audio_decode.c tests/golden_file.h tests/known_leaks.h
tests_test_audio_decode_CFLAGS = $(audio_test_cflags)
tests_test_audio_decode_LDADD = libsound.la libbase.la $(CHECK_LIBS)
tests_test_audio_features_SOURCES = tests/test_audio_features.c tests/golden_file.h
tests_test_audio_features_CFLAGS = $(audio_test_cflags)
tests_test_audio_features_LDADD = libspeech.la libbase.la $(CHECK_LIBS)
tests_test_audio_encoder_SOURCES = tests/test_audio_encoder.c tests/encoder_device.h tests/golden_file.h
tests_test_audio_encoder_CFLAGS = $(audio_test_cflags) $(JSONC_CFLAGS)
tests_test_audio_encoder_LDADD = libspeech.la libengine.la libops.la libbase.la \
	$(CHECK_LIBS)
endif
check_PROGRAMS += tests/fuzz/fuzz_audio
tests_fuzz_fuzz_audio_SOURCES = tests/fuzz/fuzz_audio.c tests/fuzz/replay.c tests/known_leaks.h
tests_fuzz_fuzz_audio_LDADD = libsound.la libspeech.la libbase.la
endif
if HAVE_CHECK
check_PROGRAMS += tests/test_media_prompt tests/test_media_cache
TESTS += tests/test_media_prompt tests/test_media_cache
tests_test_media_cache_SOURCES = tests/test_media_cache.c
tests_test_media_cache_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_test_media_cache_LDADD = libmediaprompt.la $(CHECK_LIBS)
tests_test_media_prompt_SOURCES = tests/test_media_prompt.c
tests_test_media_prompt_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_media_prompt_LDADD = libmediaprompt.la libengine.la libbase.la $(CHECK_LIBS)
endif
if HAVE_MEDIA
# The tool that tests/oracle/compare_random_multimodal.py drives.
check_PROGRAMS += tests/media_tool
tests_media_tool_SOURCES = tests/media_tool.c tests/null_host.h
tests_media_tool_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS)
tests_media_tool_LDADD = libaudioclips.la libvision.la libspeech.la libmediaclient.la libmediaprompt.la libengine.la \
	libops.la libbase.la
EXTRA_tests_media_tool_DEPENDENCIES = airlock-media-worker plugins/phi4-multimodal.la
if HAVE_CHECK
check_PROGRAMS += tests/test_audio_clips
TESTS += tests/test_audio_clips
tests_test_audio_clips_SOURCES = tests/test_audio_clips.c tests/golden_file.h
tests_test_audio_clips_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JSONC_CFLAGS)
tests_test_audio_clips_LDADD = libaudioclips.la libspeech.la libmediaclient.la libmediaprompt.la libengine.la libops.la libbase.la $(CHECK_LIBS)
EXTRA_tests_test_audio_clips_DEPENDENCIES = airlock-media-worker tests/fakes/media-worker
endif
endif
