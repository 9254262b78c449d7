/*
 * disk_cow.h - a disk that is a base nobody writes, under an overlay of its own (layer 3)
 *
 * The overlay is a header, a bitmap with one bit for each cluster of 4 KiB, and
 * the clusters, each in the place it has on the disk.  So the file is as long
 * as the disk, and as large as what was written.
 *
 * 1. A cluster whose bit is set is read from the overlay, others from the base.
 *    A set bit stays set.
 * 2. A bit is set when all bytes of its cluster are in the overlay: what a write
 *    does not cover is copied from the base, with the write, in one operation.
 *    If that fails the bit stays clear, and the base's data shows as before;
 *    what lies in the overlay under a clear bit means nothing.
 * 3. Two requests that would copy the same cluster would lose one's data, so of
 *    requests that set bits no two that overlap are under way; later ones wait
 *    in order.  Requests within set bits, and reads, wait for nobody.
 * 4. The bitmap in memory is the truth, the file's follows it only by a flush,
 *    in this order: changed pages of the bitmap are set aside; fdatasync; those
 *    pages are written; fdatasync.  So every bit in the file stands for data
 *    that is durable, after kill -9 as after a loss of power, and what was
 *    flushed is there.
 * 5. After an fdatasync that failed nobody knows what data was lost.  So from
 *    then on no bit is written and every flush fails: the file stays what it was
 *    after the last good one.
 * 6. Zeroes and discarded clusters are holes under set bits.
 * 7. An overlay without a name is gone with the process, so it has no header,
 *    and a flush has nothing to do.
 *
 * The file is little-endian, with every field of the header checked against the
 * base when it is opened.
 */
#ifndef HUTCH_DISK_COW_H
#define HUTCH_DISK_COW_H

#include <stdint.h>

#define COW_MAGIC   "HUTCHCOW"
#define COW_VERSION 1
#define COW_CLUSTER 4096
#define COW_BITMAP  4096 /* where the bitmap begins; whole pages */

struct cow_header {
	char magic[8];
	uint32_t version, cluster;
	uint64_t bytes; /* of the disk */
	/* the base it was made over */
	uint64_t base_bytes, base_mtime_ns;
	uint64_t bitmap_at, data_at;
	uint32_t zero, crc; /* CRC-32 of all before it */
};

#endif
