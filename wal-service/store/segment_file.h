/* One segment file: its name, its header, and how it comes to be.
 *
 * A segment is "segment-<id, 16 hex digits>.log": one block of 4096 bytes, the header, and then groups
 * (group.h) up to a fixed length. All integers are little-endian.
 *
 *     at  bytes  what
 *      0      8  magic, "ARGONSEG"
 *      8      4  format version, 1
 *     12      4  1 when the first group was carried over from the predecessor by recovery, else 0
 *     16      8  id: 1, 2, 3, ...
 *     24      8  length of the file
 *     32      8  salt of the group headers, random
 *     40     16  incarnation of the log under which the segment was begun
 *     56      8  sequence of the first group
 *     64      8  id of the predecessor; 0: there is none
 *     72      8  byte where the predecessor ends; nothing behind it is ever read again
 *     80      4  checksum of the last group's header before that byte; 0: no group yet
 *     84         zeros
 *   4092      4  CRC32C of bytes 0..4091
 *
 * How it is made, and why each state is harmless when the power goes:
 *
 *     prepared-N.tmp, being filled with zeros  --crash-->  removed at the next start
 *        | sync
 *     prepared-N.tmp, ready
 *        | header (and a carried group) written, sync
 *     prepared-N.tmp, whole
 *        | rename, sync of the directory
 *     segment-<id>.log                         its groups may be acknowledged
 *
 * So a segment under its final name has a whole header and its full length: anything else is damage. It is
 * filled with zeros rather than left sparse, so that a group's fdatasync writes data only, no metadata, and
 * cannot fail for lack of space.
 */
#ifndef ARGON_WAL_STORE_SEGMENT_FILE_H
#define ARGON_WAL_STORE_SEGMENT_FILE_H

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "wal-service/store/disk.h"
#include "wal-service/store/frame.h"

enum {
    SEGMENT_HEADER_BYTES = 4096,
    SEGMENT_BLOCK_BYTES = 4096,
    SEGMENT_NAME_SIZE = 32,
};

#define TEMPORARY_PREFIX "prepared-"
#define TEMPORARY_SUFFIX ".tmp"

struct segment_header {
    uint64_t id;
    uint64_t length;
    uint64_t salt;
    uint8_t incarnation[INCARNATION_BYTES];
    uint64_t first_sequence;
    uint64_t predecessor;
    uint64_t predecessor_end;
    uint32_t predecessor_checksum;
    bool carried;
};

void segment_name_format(uint64_t id, char name[SEGMENT_NAME_SIZE]);
bool segment_name_parse(const char *name, uint64_t *id);
void segment_footer_name_format(uint64_t id, char name[SEGMENT_NAME_SIZE]); /* "segment-<id>.index" */
void segment_packed_name_format(uint64_t id, char name[SEGMENT_NAME_SIZE]); /* "segment-<id>.zst" */
bool segment_packed_name_parse(const char *name, uint64_t *id);

void segment_header_encode(const struct segment_header *header, uint8_t block[SEGMENT_HEADER_BYTES]);
/* DATA_LOSS; the caller names the file. */
CHECKED bool segment_header_decode(const uint8_t block[SEGMENT_HEADER_BYTES], struct segment_header *header, struct error *err);

/* A multiple of the block size that holds the payload of one group and an empty group behind it. */
uint64_t segment_length_for(uint64_t payload_bytes);

/* A temporary name; each number gives another one. */
void segment_temporary_name(uint64_t number, char name[SEGMENT_NAME_SIZE]);

/* Makes a synced file of zeros. 0 or an errno; on failure no file is left. */
int segment_file_prepare(struct disk *disk, int directory, const char *name, uint64_t length, int *fd);

/* Writes header and first group (may be empty), syncs, gives the file its final name and syncs the directory.
 * 0 or an errno; *visible tells on failure whether the final name may be there already. */
int segment_file_publish(struct disk *disk, int directory, int fd, const char *name, const struct segment_header *header,
                         struct bytes first_group, bool *visible);

/* Gives back what lies behind the end of a segment that its successor has sealed. Returns the bytes that the
 * segment still takes. Best effort: some file systems cannot. */
uint64_t segment_file_trim_tail(struct disk *disk, int fd, uint64_t end, uint64_t length);

#endif
