/* Bytes that decode as a frame encode to the same bytes again. */
#include <stdlib.h>
#include <string.h>

#include "common/base/crc32c.h"
#include "wal-service/store/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct frame_scratch scratch = { 0 };
    struct frame frame;
    struct error err;
    size_t size;
    if (len < 48)
        return 0;
    /* the right checksum and length, or nothing would get past them */
    uint8_t *copy = malloc(len);
    memcpy(copy, data, len);
    put_u32(copy + 4, (uint32_t)len);
    put_u32(copy, crc32c(0, copy + 4, len - 4));
    if (frame_decode(bytes_of(copy, len), &frame, &size, &scratch, &err)) {
        struct buffer again = { 0 };
        if (size != len || !frame_check(&frame, &err) || frame_encoded_size(&frame) != len)
            abort();
        frame_encode(&frame, &again);
        if (again.len != len || memcmp(again.data, copy, len) != 0)
            abort();
        buffer_destroy(&again);
    }
    frame_scratch_destroy(&scratch);
    free(copy);
    return 0;
}
