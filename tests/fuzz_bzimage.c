/*
 * fuzz_bzimage - any bytes as a bzImage: refused with a message, or loaded where there is RAM
 *
 * The first byte says what is asked (2 bits), and whether the rest is the file
 * or, in a good file, the payload (bit 2), or the setup header and the payload
 * (bit 3): most of a file is neither, and mutating that finds nothing.
 */
#include "boot_rig.h"
#include "bzimage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rig *rig;
	const struct blob none = { NULL, 0 };
	struct blob file cleanup_blob = { NULL, 0 };
	uint8_t how, header[SETUP_HEADER_MAX];

	if (!size)
		return 0;
	if (!rig) {
		rig = rig_new(64 * MiB);
		rig_kernel(rig, &none);
	}
	how = *data++;
	size--;
	if (how & 8) {
		if (size < sizeof(header))
			return 0;
		memcpy(header, data, sizeof(header));
		data += sizeof(header);
		size -= sizeof(header);
	}
	file = blob_of(data, size);
	if (how & 12) {
		struct blob payload cleanup_blob = file;

		file = make_bzimage(&payload);
	}
	if (how & 8)
		memcpy(file.data + SETUP_HEADER, header, sizeof(header));
	rig->conf.boot = how & 3;
	rig_replace(rig, 0, file.data, file.len);
	rig_try(rig);
	return 0;
}
