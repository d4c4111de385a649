# local.mk - the files of plugins/phi4-multimodal.
if HAVE_SOUND
noinst_LTLIBRARIES += libsound.la
# from a sound file to samples; only the media worker has this
libsound_la_SOURCES = \
	plugins/phi4-multimodal/audio_decode.c plugins/phi4-multimodal/audio_decode.h \
	plugins/phi4-multimodal/audio_resample.c plugins/phi4-multimodal/audio_resample.h
libsound_la_CFLAGS = $(AM_CFLAGS) $(SNDFILE_CFLAGS) $(SOXR_CFLAGS)
libsound_la_LIBADD = $(SNDFILE_LIBS) $(SOXR_LIBS) -lm
endif
# the speech encoder and its front end
noinst_LTLIBRARIES += libspeech.la
libspeech_la_SOURCES = \
	plugins/phi4-multimodal/log_mel.c plugins/phi4-multimodal/log_mel.h \
	plugins/phi4-multimodal/audio_config.c plugins/phi4-multimodal/audio_config.h \
	plugins/phi4-multimodal/audio_weights.c plugins/phi4-multimodal/audio_weights.h \
	plugins/phi4-multimodal/audio_encoder.c plugins/phi4-multimodal/audio_encoder.h
libspeech_la_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS)
if HAVE_PICTURES
noinst_LTLIBRARIES += libpicture.la
# from a picture file to pixels
libpicture_la_SOURCES = \
	plugins/phi4-multimodal/image_decode.c plugins/phi4-multimodal/image_decode.h \
	plugins/phi4-multimodal/image_formats.h plugins/phi4-multimodal/image_exif.c \
	plugins/phi4-multimodal/image_png.c plugins/phi4-multimodal/image_jpeg.c \
	plugins/phi4-multimodal/image_webp.c plugins/phi4-multimodal/image_gif.c
libpicture_la_CFLAGS = $(AM_CFLAGS) $(PNG_CFLAGS) $(JPEG_CFLAGS) $(WEBP_CFLAGS)
libpicture_la_LIBADD = $(PNG_LIBS) $(JPEG_LIBS) $(WEBP_LIBS) $(GIF_LIBS)
endif
if HAVE_MEDIA
# both, in a process that can do nothing else
airlocklibexec_PROGRAMS += airlock-media-worker
man8_MANS = docs/man/airlock-media-worker.8
airlock_media_worker_SOURCES = \
	plugins/phi4-multimodal/media_worker.c plugins/phi4-multimodal/media_protocol.h \
	plugins/phi4-multimodal/media_seal.c plugins/phi4-multimodal/media_seal.h
airlock_media_worker_LDADD = libpicture.la libsound.la libbase.la
noinst_LTLIBRARIES += libmediaclient.la
libmediaclient_la_SOURCES = plugins/phi4-multimodal/media_client.c \
	plugins/phi4-multimodal/media_client.h
libmediaclient_la_CFLAGS = $(AM_CFLAGS) -pthread
endif
# the vision half: from pixels to embeddings
noinst_LTLIBRARIES += libvision.la
libvision_la_SOURCES = \
	plugins/phi4-multimodal/image_crops.c plugins/phi4-multimodal/image_crops.h \
	plugins/phi4-multimodal/image_resize.c plugins/phi4-multimodal/image_resize.h \
	plugins/phi4-multimodal/vision_config.c plugins/phi4-multimodal/vision_config.h \
	plugins/phi4-multimodal/media_bytes.c plugins/phi4-multimodal/media_bytes.h \
	plugins/phi4-multimodal/vision_weights.c plugins/phi4-multimodal/vision_weights.h \
	plugins/phi4-multimodal/vision_encoder.c plugins/phi4-multimodal/vision_encoder.h
libvision_la_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS)
libvision_la_LIBADD = -lm
# pictures and sounds in a prompt
noinst_LTLIBRARIES += libmediaprompt.la
libmediaprompt_la_SOURCES = plugins/phi4-multimodal/media_prompt.c \
	plugins/phi4-multimodal/media_prompt.h \
	plugins/phi4-multimodal/media_cache.c plugins/phi4-multimodal/media_cache.h
libmediaprompt_la_CFLAGS = $(AM_CFLAGS) $(LIBMD_CFLAGS) -pthread
libmediaprompt_la_LIBADD = $(LIBMD_LIBS)
if HAVE_MEDIA
# the sounds of a request, from files to embeddings
noinst_LTLIBRARIES += libaudioclips.la
libaudioclips_la_SOURCES = plugins/phi4-multimodal/audio_clips.c \
	plugins/phi4-multimodal/audio_clips.h
libaudioclips_la_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS)
endif
if HAVE_MEDIA
airlockplugin_LTLIBRARIES += plugins/phi4-multimodal.la
plugins_phi4_multimodal_la_SOURCES = plugins/phi4-multimodal/plugin.c \
	plugins/phi4-multimodal/media.c plugins/phi4-multimodal/media.h \
	plugins/phi4-multimodal/media_encode.c plugins/phi4-multimodal/media_encode.h \
	plugins/phi4-multimodal/builtin_adapters.c plugins/phi4-multimodal/builtin_adapters.h
plugins_phi4_multimodal_la_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS) -pthread
plugins_phi4_multimodal_la_LIBADD = libaudioclips.la libvision.la libspeech.la libmediaprompt.la \
	libmediaclient.la libpeft.la libphi4.la
plugins_phi4_multimodal_la_LDFLAGS = $(PLUGIN_LDFLAGS)
endif
EXTRA_DIST += docs/man/airlock-media-worker.8
