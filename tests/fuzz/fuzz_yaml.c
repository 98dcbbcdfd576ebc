#include "protocol/yaml_text.h"

#include "tests/fuzz/serializer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct serializer yaml = {
		.load = yaml_text_load,
		.dump = yaml_text_dump,
		/* libyaml takes no surrogates, PyYAML does */
		.excused = "Unicode",
	};

	serializer_check(&yaml, data, size);
	return 0;
}
