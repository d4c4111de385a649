# local.mk - documents that are installed and distributed.
dist_doc_DATA += README.md NEWS.md SECURITY.md docs/architecture.md docs/protocol.md docs/plugin-authors.md docs/pitfalls.md \
	docs/threat-model.md docs/speed.md docs/quantization.md docs/openapi.json
EXTRA_DIST += CONTRIBUTING.md .clang-format model_config.example.json
