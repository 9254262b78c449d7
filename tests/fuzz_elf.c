/*
 * fuzz_elf - any bytes as an ELF kernel: refused with a message, or loaded where there is RAM
 *
 * The first byte says what is asked (2 bits) and how to pack the rest (2
 * bits); bytes that are packed already come as they are.
 */
#include "boot_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rig *rig;
	const struct blob none = { NULL, 0 };
	struct blob plain cleanup_blob = blob_of(data, size);
	struct blob file cleanup_blob = { NULL, 0 };

	if (!size)
		return 0;
	if (!rig) {
		rig = rig_new(64 * MiB);
		rig_kernel(rig, &none);
	}
	rig->conf.boot = data[0] & 3;
	memmove(plain.data, plain.data + 1, --plain.len);
	file = make_packed(&plain, (enum pack)(data[0] >> 2 & 3));
	rig_replace(rig, 0, file.data, file.len);
	rig_try(rig);
	return 0;
}
