/* A run that can be read is read to its end, within its bytes. */
#include <stdlib.h>

#include "wal-service/run_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct run_reader reader;
    struct run_entry entry;
    struct error err;
    if (!run_reader_init(&reader, bytes_of(data, len), &err))
        return 0;
    while (run_reader_more(&reader)) {
        size_t left = reader.rest.len;
        if (!run_reader_next(&reader, &entry, &err))
            return 0;
        if (reader.rest.len >= left)
            abort();
        if (entry.document_id.data < data || entry.document_id.data + entry.document_id.len > data + len)
            abort();
        if (entry.document.len && (entry.document.data < data || entry.document.data + entry.document.len > data + len))
            abort();
    }
    return 0;
}
