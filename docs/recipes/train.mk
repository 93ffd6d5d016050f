# The same as targets of Make: `make -f train.mk` runs what changed. See docs/ci.md.
LIMITS ?= --fail-under accuracy=0.80 --fail-under accuracy.lower=0.75
IMAGES := $(shell find images -type f 2>/dev/null)

model/checked: metrics.json
	tlcli export --run model_run --format openvino,onnx --output model --overwrite
	python model/check.py
	touch $@

# A model that misses a limit leaves no metrics.json, so that it is measured again and never exported.
metrics.json: model_run/run.json
	tlcli evaluate --run model_run $(LIMITS) --json > $@.partial
	mv $@.partial $@

model_run/run.json: config.yaml $(IMAGES)
	tlcli train --config config.yaml --output model_run
