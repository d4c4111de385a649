# local.mk - the engine, a convenience library that each model plugin links; it knows no device.
noinst_LTLIBRARIES += libcheckpoint.la libengine.la
# the files of a checkpoint: also what plugins/lora needs of the engine
libcheckpoint_la_SOURCES = \
	plugins/engine/safetensors.c plugins/engine/safetensors.h \
	plugins/engine/safetensors_header.c plugins/engine/safetensors_header.h \
	plugins/engine/hub_cache.c plugins/engine/hub_cache.h
libcheckpoint_la_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS)

libengine_la_SOURCES =
libengine_la_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS) $(PCRE2_CFLAGS)
libengine_la_LIBADD = libcheckpoint.la $(PCRE2_LIBS) -lm
# the model's configuration and weights
libengine_la_SOURCES += \
	plugins/engine/phi4_config.c plugins/engine/phi4_config.h \
	plugins/engine/phi4_weights.c plugins/engine/phi4_weights.h \
	plugins/engine/memory_plan.c plugins/engine/memory_plan.h \
	plugins/engine/tensor.c plugins/engine/tensor.h \
	plugins/engine/weights_reader.c plugins/engine/weights_reader.h
# the forward pass and what drives it
libengine_la_SOURCES += \
	plugins/engine/ops_error.c plugins/engine/ops_error.h \
	plugins/engine/rope.c plugins/engine/rope.h \
	plugins/engine/kv_cache.c plugins/engine/kv_cache.h \
	plugins/engine/linear_hook.c plugins/engine/linear_hook.h \
	plugins/engine/phi4_forward.c plugins/engine/phi4_forward.h plugins/engine/phi4_forward_state.h \
	plugins/engine/forward_inputs.c plugins/engine/decode_graphs.c \
	plugins/engine/sampler.c plugins/engine/sampler.h \
	plugins/engine/sample_batch.c plugins/engine/sample_batch.h \
	plugins/engine/stop_strings.c plugins/engine/stop_strings.h \
	plugins/engine/siphash.c plugins/engine/siphash.h \
	plugins/engine/prefix_cache.c plugins/engine/prefix_cache.h \
	plugins/engine/wait_queue.c plugins/engine/wait_queue.h \
	plugins/engine/turns.c plugins/engine/turns.h \
	plugins/engine/ticket.c plugins/engine/ticket.h \
	plugins/engine/scheduler.c plugins/engine/scheduler.h plugins/engine/scheduler_state.h \
	plugins/engine/scheduler_plan.c plugins/engine/scheduler_step.c \
	plugins/engine/engine.c plugins/engine/engine.h
# text: tokens and the chat template
libengine_la_SOURCES += \
	plugins/engine/tokenizer.c plugins/engine/tokenizer.h \
	plugins/engine/tokenizer_file.c plugins/engine/tokenizer_file.h \
	plugins/engine/tokenizer_vocab.c plugins/engine/tokenizer_vocab.h \
	plugins/engine/tokenizer_bpe.c plugins/engine/tokenizer_bpe.h \
	plugins/engine/tokenizer_split.c plugins/engine/tokenizer_split.h \
	plugins/engine/tokenizer_o200k.c plugins/engine/unicode.h plugins/engine/unicode_classes.h \
	plugins/engine/tokenizer_added.c plugins/engine/tokenizer_added.h \
	plugins/engine/chat_template.c plugins/engine/chat_template.h
# constrained output: JSON Schema as an automaton over bytes
libengine_la_SOURCES += \
	plugins/engine/json_automaton.c plugins/engine/json_automaton.h \
	plugins/engine/json_lexer.c plugins/engine/json_lexer.h \
	plugins/engine/json_lexer_dfa.c plugins/engine/json_lexer_nodes.h \
	plugins/engine/json_range.c \
	plugins/engine/json_pattern.c plugins/engine/json_pattern.h \
	plugins/engine/json_schema.c plugins/engine/json_schema.h plugins/engine/json_compiler.h \
	plugins/engine/json_builder.c plugins/engine/json_types.c \
	plugins/engine/json_containers.c plugins/engine/json_merge.c \
	plugins/engine/token_trie.c plugins/engine/token_trie.h \
	plugins/engine/token_strings.c plugins/engine/token_strings.h \
	plugins/engine/token_mask.c plugins/engine/token_mask.h \
	plugins/engine/tools.c plugins/engine/tools.h \
	plugins/engine/constraint.c plugins/engine/constraint.h \
	plugins/engine/tool_calls.c plugins/engine/tool_calls.h
EXTRA_DIST += plugins/engine/unicode_classes.py
