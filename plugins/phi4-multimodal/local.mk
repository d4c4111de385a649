# local.mk - the files of plugins/phi4-multimodal.
if HAVE_SOUND
noinst_LTLIBRARIES += libsound.la
# from a sound file to what the speech encoder reads
libsound_la_SOURCES = \
	plugins/phi4-multimodal/audio_decode.c plugins/phi4-multimodal/audio_decode.h \
	plugins/phi4-multimodal/audio_resample.c plugins/phi4-multimodal/audio_resample.h \
	plugins/phi4-multimodal/log_mel.c plugins/phi4-multimodal/log_mel.h
libsound_la_CFLAGS = $(AM_CFLAGS) $(SNDFILE_CFLAGS) $(SOXR_CFLAGS)
libsound_la_LIBADD = $(SNDFILE_LIBS) $(SOXR_LIBS) -lm
endif
