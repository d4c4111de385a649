# local.mk - the files of plugins/phi4-multimodal.
