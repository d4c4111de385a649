# local.mk - the files of demo-mm.
EXTRA_DIST += demo-mm/README.md demo-mm/model_config.json demo-mm/quickstart.json \
	demo-mm/checkpoint.py demo-mm/evaluate.py demo-mm/heldout.py demo-mm/model.py demo-mm/pictures.py \
	demo-mm/polish.py demo-mm/processor.py demo-mm/questions.py demo-mm/tones.py demo-mm/towers.py demo-mm/train.py \
	demo-mm/whole.py \
	demo-mm/model/config.json demo-mm/model/generation_config.json demo-mm/model/model.safetensors \
	demo-mm/model/preprocessor_config.json demo-mm/model/special_tokens_map.json demo-mm/model/tokenizer.json \
	demo-mm/model/tokenizer_config.json demo-mm/examples/picture.png demo-mm/examples/number.wav \
	demo-mm/examples/tone1.wav demo-mm/examples/tone2.wav demo-mm/examples/tone3.wav
