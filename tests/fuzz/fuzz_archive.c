/* An archive that reads to its end ends where its last byte is, and what it told of is within bounds; no bytes make the reader
 * do anything else than tell or refuse. */
#include <stdlib.h>

#include "cli/dump/archive_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct dump_input input;
    struct archive_reader reader;
    struct error err;
    struct bytes document;
    size_t collection;
    bool end = false;
    dump_input_of_memory(&input, "fuzz", bytes_of(data, len));
    bool ok = archive_reader_open(&reader, &input, &err);
    while (ok && !end) {
        ok = archive_reader_next(&reader, &collection, &document, &end, &err);
        if (ok && !end && (collection >= reader.n_collections || get_u32(document.data) != document.len))
            abort();
    }
    if (ok && input.offset != len)
        abort();
    archive_reader_close(&reader);
    dump_input_close(&input);
    return 0;
}
