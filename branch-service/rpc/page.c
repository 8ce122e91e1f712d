#include "branch-service/rpc/page.h"

bool page_begin(uint32_t page_size, size_t record_bytes, size_t message_bytes, struct arena *arena, struct page *page, struct error *err)
{
    size_t n;
    if (!convert_page_size(page_size, &n, err))
        return false;
    const struct page made = {
        .n = n,
        .records = arena_alloc(arena, n * record_bytes),
        .messages = arena_alloc(arena, n * message_bytes),
        .pointers = arena_alloc(arena, n * sizeof(void *)),
    };
    if (!made.records || !made.messages || !made.pointers)
        return error_out_of_memory(err);
    for (size_t i = 0; i < n; i++)
        made.pointers[i] = (char *)made.messages + i * message_bytes;
    *page = made;
    return true;
}
