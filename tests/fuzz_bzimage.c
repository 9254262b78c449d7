/*
 * fuzz_bzimage - any bytes as a bzImage: refused with a message, or loaded where there is RAM
 *
 * The first byte says what is asked (2 bits), and whether the rest is the file
 * or, in a good file, the payload (1 bit).
 */
#include "boot_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rig *rig;
	const struct blob none = { NULL, 0 };
	struct blob payload cleanup_blob = blob_of(data, size);
	struct blob file cleanup_blob = { NULL, 0 };

	if (!size)
		return 0;
	if (!rig) {
		rig = rig_new(64 * MiB);
		rig_kernel(rig, &none);
	}
	rig->conf.boot = data[0] & 3;
	memmove(payload.data, payload.data + 1, --payload.len);
	if (data[0] & 4) {
		file = make_bzimage(&payload);
		rig_replace(rig, 0, file.data, file.len);
	} else {
		rig_replace(rig, 0, payload.data, payload.len);
	}
	rig_try(rig);
	return 0;
}
