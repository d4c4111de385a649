# engine.mk - tests of the engine: rope, KV cache, sampler, forward pass, scheduler, phi4-mini.
EXTRA_DIST += tests/quality_support.h tests/forward_support.h tests/engine_support.h tests/lora_support.h tests/golden/logits \
	tests/oracle/phi4_random.py tests/oracle/logits_golden.py tests/oracle/compare_random.py
engine_test_ldadd = libengine.la libops.la libbase.la $(CHECK_LIBS)
engine_test_cflags = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JSONC_CFLAGS)
if HAVE_CHECK
engine_tests = tests/test_rope tests/test_kv_cache tests/test_siphash tests/test_prefix_cache \
	tests/test_wait_queue tests/test_turns tests/test_scheduler tests/test_engine_prefix tests/test_engine_embeds tests/test_sampler tests/test_stop_strings \
	tests/test_logits tests/test_engine tests/test_phi4_mini tests/test_quality tests/test_memory_plan \
	tests/test_adapters
check_PROGRAMS += $(engine_tests)
TESTS += $(engine_tests)
tests_test_quality_SOURCES = tests/test_quality.c
tests_test_quality_CFLAGS = $(engine_test_cflags)
tests_test_quality_LDADD = $(engine_test_ldadd)
tests_test_memory_plan_SOURCES = tests/test_memory_plan.c
tests_test_memory_plan_CFLAGS = $(engine_test_cflags)
tests_test_memory_plan_LDADD = $(engine_test_ldadd)
tests_test_rope_SOURCES = tests/test_rope.c
tests_test_rope_CFLAGS = $(engine_test_cflags)
tests_test_rope_LDADD = $(engine_test_ldadd)
tests_test_kv_cache_SOURCES = tests/test_kv_cache.c
tests_test_kv_cache_CFLAGS = $(engine_test_cflags)
tests_test_kv_cache_LDADD = $(engine_test_ldadd)
tests_test_siphash_SOURCES = tests/test_siphash.c
tests_test_siphash_CFLAGS = $(engine_test_cflags)
tests_test_siphash_LDADD = $(engine_test_ldadd)
tests_test_prefix_cache_SOURCES = tests/test_prefix_cache.c
tests_test_prefix_cache_CFLAGS = $(engine_test_cflags)
tests_test_prefix_cache_LDADD = $(engine_test_ldadd)
tests_test_wait_queue_SOURCES = tests/test_wait_queue.c
tests_test_wait_queue_CFLAGS = $(engine_test_cflags)
tests_test_wait_queue_LDADD = $(engine_test_ldadd)
tests_test_turns_SOURCES = tests/test_turns.c
tests_test_turns_CFLAGS = $(engine_test_cflags) -pthread
tests_test_turns_LDADD = $(engine_test_ldadd)
tests_test_scheduler_SOURCES = tests/test_scheduler.c
tests_test_scheduler_CFLAGS = $(engine_test_cflags)
tests_test_scheduler_LDADD = $(engine_test_ldadd)
tests_test_engine_prefix_SOURCES = tests/test_engine_prefix.c
tests_test_engine_prefix_CFLAGS = $(engine_test_cflags)
tests_test_engine_prefix_LDADD = $(engine_test_ldadd)
tests_test_engine_embeds_SOURCES = tests/test_engine_embeds.c
tests_test_engine_embeds_CFLAGS = $(engine_test_cflags)
tests_test_engine_embeds_LDADD = $(engine_test_ldadd)
tests_test_sampler_SOURCES = tests/test_sampler.c
tests_test_sampler_CFLAGS = $(engine_test_cflags)
tests_test_sampler_LDADD = $(engine_test_ldadd)
tests_test_stop_strings_SOURCES = tests/test_stop_strings.c
tests_test_stop_strings_CFLAGS = $(engine_test_cflags)
tests_test_stop_strings_LDADD = $(engine_test_ldadd)
tests_test_logits_SOURCES = tests/test_logits.c
tests_test_logits_CFLAGS = $(engine_test_cflags)
tests_test_logits_LDADD = libphi4.la $(CHECK_LIBS)
tests_test_engine_SOURCES = tests/test_engine.c
tests_test_engine_CFLAGS = $(engine_test_cflags)
tests_test_engine_LDADD = $(engine_test_ldadd)
tests_test_adapters_SOURCES = tests/test_adapters.c
tests_test_adapters_CFLAGS = $(engine_test_cflags)
tests_test_adapters_LDADD = libphi4.la $(CHECK_LIBS)
# Opens plugins/.libs/phi4-mini.so as a host does.
tests_test_phi4_mini_SOURCES = tests/test_phi4_mini.c
tests_test_phi4_mini_CFLAGS = $(engine_test_cflags)
tests_test_phi4_mini_LDADD = libops.la $(JSONC_LIBS) $(CHECK_LIBS)
EXTRA_tests_test_phi4_mini_DEPENDENCIES = plugins/phi4-mini.la
EXTRA_tests_test_logits_DEPENDENCIES = plugins/lora.la
endif
# The tool that tests/oracle/compare_random.py drives.
check_PROGRAMS += tests/logits_tool
tests_logits_tool_SOURCES = tests/logits_tool.c
tests_logits_tool_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS)
tests_logits_tool_LDADD = libphi4.la
