#include "protocol/msgpack.h"

#include "tests/fuzz/serializer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct serializer msgpack = {
		.load = msgpack_load,
		.dump = msgpack_dump,
	};

	serializer_check(&msgpack, data, size);
	return 0;
}
