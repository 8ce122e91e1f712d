#include "branch-service/catalog/names.h"
#include "branch-service/documents/documents_internal.h"
#include "branch-service/reasons.h"
#include "common/bson/bson_check.h"

/* What an entry takes besides its document and key. */
enum { ENTRY_OVERHEAD_BYTES = 32 };

bool documents_check_path(const struct collection_path *path, struct error *err)
{
    return name_check("branch", path->branch, err) && name_check_collection(path->collection, err);
}

uint64_t documents_entry_bytes(struct bytes key, size_t document_bytes)
{
    return key.len + document_bytes + ENTRY_OVERHEAD_BYTES;
}

bool batch_size_add(struct batch_size *size, struct bytes key, size_t document_bytes, struct error *err)
{
    size->documents++;
    size->bytes += documents_entry_bytes(key, document_bytes);
    if (size->documents <= MAX_WRITE_DOCUMENTS && size->bytes <= MAX_WRITE_BYTES)
        return true;
    if (size->documents > MAX_WRITE_DOCUMENTS)
        error_set(err, ERROR_INVALID_ARGUMENT, "the write holds more than %d documents, the most that one batch takes",
                  MAX_WRITE_DOCUMENTS);
    else
        error_set(err, ERROR_INVALID_ARGUMENT, "the write holds more than %d bytes, the most that one batch takes", MAX_WRITE_BYTES);
    error_set_reason(err, REASON_TOO_LARGE);
    return false;
}
