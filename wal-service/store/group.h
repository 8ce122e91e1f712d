/* A group: the frames that one write and one fdatasync made durable.
 *
 * On disk a group is a header of 48 bytes and its payload, the encoded frames one after another. Frames have
 * sizes in multiples of 8, so every header stands at a multiple of 8. All integers are little-endian.
 *
 *     at  bytes  what
 *      0      4  magic, "AGRP"
 *      4      4  format version, 1
 *      8      8  salt of the segment
 *     16      8  id of the segment
 *     24      8  sequence: 1, 2, 3, ... through the whole log
 *     32      4  payload length; 0: a group that only vouches for its predecessor
 *     36      4  CRC32C of the payload
 *     40      4  checksum of the previous group's header (its bytes 44..47), also across segments; 0: none
 *     44      4  CRC32C of bytes 0..43
 *
 * A header can be verified alone. The salt is random, new for each segment and shown to nobody: bytes that a
 * user stores cannot look like a header. A group is written only after its predecessor was synced, so a valid
 * header vouches for every group with a lower sequence.
 */
#ifndef ARGON_WAL_STORE_GROUP_H
#define ARGON_WAL_STORE_GROUP_H

#include <stdbool.h>
#include <stdint.h>

enum { GROUP_HEADER_BYTES = 48, GROUP_ALIGNMENT = 8 };

struct group_header {
    uint64_t salt;
    uint64_t segment;
    uint64_t sequence;
    uint32_t payload_length;
    uint32_t payload_checksum;
    uint32_t previous_checksum;
    uint32_t checksum; /* set by encode and decode */
};

void group_header_encode(struct group_header *header, uint8_t out[GROUP_HEADER_BYTES]);

/* False when these bytes are no header of a group in this segment. */
bool group_header_decode(const uint8_t in[GROUP_HEADER_BYTES], uint64_t segment, uint64_t salt, struct group_header *header);

#endif
