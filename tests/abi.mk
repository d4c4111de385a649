# abi.mk - tests of the plugin ABI: dialects, evolution, the checker, examples built outside the tree.
ABI_TESTS = tests/abi/test_dialects.sh tests/abi/test_outside_build.sh tests/abi/test_plugin_check.sh \
	tests/abi/test_evolution.sh tests/abi/test_matrix.sh tests/abi/test_old_binaries.sh \
	tests/abi/test_one_symbol.sh tests/abi/test_server_strangers.sh
dist_check_SCRIPTS += $(ABI_TESTS)
TESTS += $(ABI_TESTS)
EXTRA_DIST += tests/fakes/bad_model.c tests/fakes/bad_adapter.c tests/abi/headers.sh tests/abi/release.sh \
	tests/abi/matrix_host.c tests/abi/matrix_plugin.c tests/golden/abi-1.0.txt tests/golden/abi-1.0.xml \
	tests/data/abi-1.0/echo.so tests/data/abi-1.0/scale_adapter.so tests/data/abi-1.0/misbehaving.so
tests/abi/test_server_strangers.log: airlock-server
tests/abi/test_plugin_check.log tests/abi/test_old_binaries.log tests/abi/test_one_symbol.log: airlock-plugin-check
tests/abi/test_one_symbol.log: $(airlockplugin_LTLIBRARIES) $(check_LTLIBRARIES)
tests/abi/test_outside_build.log: airlock-plugin-check
