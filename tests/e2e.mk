# e2e.mk - end-to-end tests run against a started airlock (.ci/run, tests/e2e/run_all.sh); the tree's own checks run always.
dist_check_SCRIPTS += tests/check_map.sh tests/check_layers.sh tests/check_layers_self.sh tests/check_man.sh
TESTS += tests/check_layers.sh tests/check_layers_self.sh tests/check_man.sh
tests/check_man.log: $(bin_PROGRAMS)
EXTRA_DIST += tests/e2e/run_all.sh tests/e2e/lib.sh tests/e2e/e2e_generate.sh tests/e2e/e2e_isolation.sh \
	tests/e2e/e2e_client.sh tests/e2e/e2e_kill.sh tests/e2e/e2e_recover.sh tests/e2e/e2e_heldout.sh tests/e2e/heldout.py
EXTRA_DIST += tests/e2e/e2e_clients.sh tests/e2e/e2e_media.sh tests/e2e/e2e_page.sh tests/e2e/page_browser.py tests/e2e/browser.py tests/e2e/clients/openai_media.py tests/e2e/soak.py tests/e2e/schemathesis.sh \
	tests/e2e/clients/requirements.txt tests/e2e/clients/openai_package.py \
	tests/e2e/clients/litellm_package.py tests/e2e/clients/langchain_package.py
EXTRA_DIST += tests/e2e/e2e_demo_mm.sh tests/e2e/demo_mm.py
