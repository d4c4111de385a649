# local.mk - the tests, one fragment for each area.
include tests/common.mk
include tests/client.mk
include tests/server.mk
include tests/bridge.mk
include tests/sdk.mk
include tests/abi.mk
include tests/ops.mk
include tests/tokenizer.mk
include tests/weights.mk
include tests/engine.mk
include tests/constraint.mk
include tests/lora.mk
include tests/audio.mk
include tests/e2e.mk
include tests/fuzz.mk
include tests/cuda.mk
include tests/bench.mk
