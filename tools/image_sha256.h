/* image_sha256.h - SHA-256 (FIPS 180-4): what names the blobs of an image, and keys of the cache */
#ifndef HUTCH_IMAGE_SHA256_H
#define HUTCH_IMAGE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_SIZE 32
#define SHA256_HEX  65 /* as lower-case digits, with the NUL */

struct sha256 {
	uint32_t h[8];
	uint64_t len; /* bytes taken */
	uint8_t block[64];
};

void sha256_start(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *data, size_t len);
void sha256_hex(struct sha256 *s, char ret[SHA256_HEX]); /* ends it */

#endif
