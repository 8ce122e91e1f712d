#include "wal-service/store/group.h"

#include "common/base/bytes.h"
#include "common/base/crc32c.h"

static const uint32_t GROUP_MAGIC = 0x50524741; /* "AGRP" */
enum { GROUP_VERSION = 1, CHECKSUM_AT = 44 };

void group_header_encode(struct group_header *header, uint8_t out[GROUP_HEADER_BYTES])
{
    put_u32(out, GROUP_MAGIC);
    put_u32(out + 4, GROUP_VERSION);
    put_u64(out + 8, header->salt);
    put_u64(out + 16, header->segment);
    put_u64(out + 24, header->sequence);
    put_u32(out + 32, header->payload_length);
    put_u32(out + 36, header->payload_checksum);
    put_u32(out + 40, header->previous_checksum);
    header->checksum = crc32c(0, out, CHECKSUM_AT);
    put_u32(out + CHECKSUM_AT, header->checksum);
}

bool group_header_decode(const uint8_t in[GROUP_HEADER_BYTES], uint64_t segment, uint64_t salt, struct group_header *header)
{
    /* cheap comparisons first: recovery tries every eighth byte of a torn tail */
    if (get_u32(in) != GROUP_MAGIC || get_u32(in + 4) != GROUP_VERSION || get_u64(in + 8) != salt || get_u64(in + 16) != segment)
        return false;
    if (crc32c(0, in, CHECKSUM_AT) != get_u32(in + CHECKSUM_AT))
        return false;
    *header = (struct group_header) {
        .salt = salt,
        .segment = segment,
        .sequence = get_u64(in + 24),
        .payload_length = get_u32(in + 32),
        .payload_checksum = get_u32(in + 36),
        .previous_checksum = get_u32(in + 40),
        .checksum = get_u32(in + CHECKSUM_AT),
    };
    return true;
}
