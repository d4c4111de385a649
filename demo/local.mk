# local.mk - the files of demo.
EXTRA_DIST += demo/README.md demo/DATES.md demo/heldout.jsonl demo/model_config.json \
	demo/data.py demo/dates.py demo/evaluate.py demo/heldout.py demo/parts.py demo/pirate.py \
	demo/questions.py demo/text.py demo/train.py demo/vocabulary.py demo/wordings.py \
	demo/model/config.json demo/model/generation_config.json demo/model/model.safetensors \
	demo/model/special_tokens_map.json demo/model/tokenizer.json demo/model/tokenizer_config.json \
	demo/adapters/dates/adapter_config.json demo/adapters/dates/adapter_model.safetensors \
	demo/adapters/pirate/adapter_config.json demo/adapters/pirate/adapter_model.safetensors
