/* A footer is refused with a word about the place, or what it points to lies in it. (Whether it says what its segment says
 * is another question: whoever opens one compares.) */
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/crc32c.h"
#include "tests/fuzz/fuzz.h"
#include "wal-service/store/segment_footer.h"

enum { ID = 1, HEADER_BYTES = 64 };

static int open_memory(struct disk *disk, int directory, const char *name, int flags)
{
    (void)disk, (void)name, (void)flags;
    return dup(directory);
}

static void check(const struct segment_footer *footer)
{
    struct bytes all = segment_footer_bytes(footer), branch = bytes_of("b", 1), users = bytes_of("users", 5);
    for (uint32_t i = 0; i < segment_footer_projects(footer); i++) {
        struct batch_view view;
        struct batch_list list;
        segment_footer_view(footer, i, &view);
        must(view.n > 0 && view.flat >= all.data && (uint64_t)view.n * BATCH_RECORD_BYTES <= (uint64_t)(all.data + all.len - view.flat));
        for (int j = 0; j < 2; j++)
            if (segment_footer_find(footer, i, branch, j ? &users : NULL, &list))
                must(list.numbers >= all.data && 4 * (uint64_t)list.n <= (uint64_t)(all.data + all.len - list.numbers));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct disk_ops ops = { .open = open_memory };
    struct disk disk = { .ops = &ops };
    struct segment_footer *footer;
    struct error err;
    if (len < HEADER_BYTES)
        return 0;
    struct buffer file = { 0 };
    buffer_append(&file, data, len);
    /* the right name, length and checksum, or nothing would get past them */
    memcpy(file.data, "ARGONIDX\1\0\0", 12);
    put_u64(file.data + 16, ID);
    put_u64(file.data + 40, len + 4);
    put_u32(buffer_append_zeros(&file, 4), crc32c(0, file.data, len));
    int fd = memfd_create("footer", 0);
    must(fd >= 0 && write(fd, file.data, file.len) == (ssize_t)file.len);
    if (segment_footer_open(&disk, fd, ID, &footer, &err)) {
        check(footer);
        segment_footer_close(footer);
    } else {
        must(err.code == ERROR_DATA_LOSS && strstr(err.message, ", byte "));
    }
    close(fd);
    buffer_destroy(&file);
    return 0;
}
