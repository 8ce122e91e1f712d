#include "wal-service/store/segment_footer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/crc32c.h"
#include "common/base/memory.h"
#include "wal-service/store/segment_file.h"

static const char FOOTER_MAGIC[8] = { 'A', 'R', 'G', 'O', 'N', 'I', 'D', 'X' };
enum {
    FOOTER_VERSION = 1,
    FOOTER_HEADER_BYTES = 64,
    PROJECT_BYTES = 48,
    POSTING_BYTES = 24,
    CHECKSUM_BYTES = 4,
};

struct segment_footer {
    const uint8_t *data;
    size_t len;
    uint32_t n_projects, n_postings;
    const uint8_t *postings;
};

/* ---- writing -------------------------------------------------------------------------------------- */

/* Where the parts of a footer begin. */
struct layout {
    uint64_t batches, postings, lists, names, checksum;
};

static struct layout lay_out(const struct batch_table *table, const struct batch_posting *postings, uint32_t n_postings)
{
    uint64_t batches = 0, numbers = 0, names = 0;
    uint32_t n_projects = batch_table_projects(table);
    struct batch_view view;
    for (uint32_t i = 0; i < n_projects; i++) {
        batch_table_view(table, i, &view);
        batches += view.n;
        names += batch_table_project_id(table, i).len;
    }
    for (uint32_t i = 0; i < n_postings; i++) {
        numbers += postings[i].batches.n;
        names += postings[i].branch_id.len + postings[i].collection.len;
    }
    struct layout at = { .batches = FOOTER_HEADER_BYTES + (uint64_t)n_projects * PROJECT_BYTES };
    at.postings = at.batches + batches * BATCH_RECORD_BYTES;
    at.lists = at.postings + (uint64_t)n_postings * POSTING_BYTES;
    at.names = at.lists + 4 * numbers;
    at.checksum = at.names + names;
    return at;
}

static void put_bytes(uint8_t *out, uint64_t *at, struct bytes bytes)
{
    if (bytes.len)
        memcpy(out + *at, bytes.data, bytes.len);
    *at += bytes.len;
}

static void encode_projects(const struct batch_table *table, const struct batch_posting *postings, uint32_t n_postings, struct layout *at,
                            uint8_t *out)
{
    uint32_t posting = 0;
    for (uint32_t i = 0; i < batch_table_projects(table); i++) {
        struct batch_view view;
        batch_table_view(table, i, &view);
        struct bytes id = batch_table_project_id(table, i);
        uint32_t first = posting;
        while (posting < n_postings && postings[posting].project == i)
            posting++;
        uint8_t *project = out + FOOTER_HEADER_BYTES + (size_t)i * PROJECT_BYTES;
        put_u64(project, at->names);
        put_u64(project + 8, view.n ? batch_first_lsn(&view, 0) : 0);
        put_u64(project + 16, view.last_lsn);
        put_u64(project + 24, at->batches);
        put_u32(project + 32, view.n);
        put_u32(project + 36, first);
        put_u32(project + 40, posting - first);
        put_u32(project + 44, (uint32_t)id.len);
        put_bytes(out, &at->names, id);
        for (uint32_t b = 0; b < view.n; b += CHUNK_BATCHES) {
            uint32_t n = view.n - b < CHUNK_BATCHES ? view.n - b : CHUNK_BATCHES;
            put_bytes(out, &at->batches, bytes_of(batch_record(&view, b), (size_t)n * BATCH_RECORD_BYTES));
        }
    }
}

static void encode_postings(const struct batch_posting *postings, uint32_t n, struct layout *at, uint8_t *out)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct batch_posting *from = &postings[i];
        uint8_t *posting = out + at->postings + (size_t)i * POSTING_BYTES;
        put_u64(posting, at->names);
        put_u64(posting + 8, at->lists);
        put_u32(posting + 16, from->batches.n);
        posting[20] = from->any_collection ? 1 : 0;
        posting[21] = (uint8_t)from->branch_id.len;
        put_u16(posting + 22, (uint16_t)from->collection.len);
        put_bytes(out, &at->names, from->branch_id);
        put_bytes(out, &at->names, from->collection);
        put_bytes(out, &at->lists, bytes_of(from->batches.numbers, 4 * (size_t)from->batches.n));
    }
}

void segment_footer_encode(const struct segment_end *end, const struct batch_table *table, uint64_t entries, struct buffer *out)
{
    uint32_t n_postings;
    struct batch_posting *postings = batch_table_postings(table, &n_postings);
    struct layout at = lay_out(table, postings, n_postings);
    size_t checksum_at = (size_t)at.checksum;
    buffer_clear(out);
    uint8_t *data = buffer_append_zeros(out, checksum_at + CHECKSUM_BYTES);
    if (data) {
        memcpy(data, FOOTER_MAGIC, sizeof FOOTER_MAGIC);
        put_u32(data + 8, FOOTER_VERSION);
        put_u32(data + 12, batch_table_projects(table));
        put_u64(data + 16, end->id);
        put_u64(data + 24, end->end);
        put_u32(data + 32, end->checksum);
        put_u32(data + 36, n_postings);
        put_u64(data + 40, checksum_at + CHECKSUM_BYTES);
        put_u64(data + 48, entries);
        encode_projects(table, postings, n_postings, &at, data);
        encode_postings(postings, n_postings, &at, data);
        put_u32(data + checksum_at, crc32c(0, data, checksum_at));
    }
    free(postings);
}

/* ---- reading -------------------------------------------------------------------------------------- */

static bool damaged(uint64_t id, uint64_t offset, const char *what, struct error *err)
{
    char name[SEGMENT_NAME_SIZE];
    segment_footer_name_format(id, name);
    return error_set(err, ERROR_DATA_LOSS, "%s, byte %llu: %s", name, (unsigned long long)offset, what);
}

static bool lies_in(const struct segment_footer *footer, uint64_t at, uint64_t len)
{
    uint64_t end = footer->len - CHECKSUM_BYTES;
    return at >= FOOTER_HEADER_BYTES && at <= end && len <= end - at;
}

/* Does every position lie in the file? The checksum is right, so only a program with a defect wrote it otherwise. */
static bool check_shape(struct segment_footer *footer, uint64_t id, struct error *err)
{
    uint64_t batches = 0;
    footer->n_projects = get_u32(footer->data + 12);
    footer->n_postings = get_u32(footer->data + 36);
    if (!lies_in(footer, FOOTER_HEADER_BYTES, (uint64_t)footer->n_projects * PROJECT_BYTES))
        return damaged(id, 12, "more projects than the file has room for", err);
    for (uint32_t i = 0; i < footer->n_projects; i++) {
        uint64_t at = FOOTER_HEADER_BYTES + (uint64_t)i * PROJECT_BYTES;
        const uint8_t *project = footer->data + at;
        uint64_t n = get_u32(project + 32);
        batches += n;
        if (n == 0 || !lies_in(footer, get_u64(project), get_u32(project + 44)) ||
            !lies_in(footer, get_u64(project + 24), n * BATCH_RECORD_BYTES) ||
            (uint64_t)get_u32(project + 36) + get_u32(project + 40) > footer->n_postings)
            return damaged(id, at, "a project that passes the end of the file", err);
    }
    uint64_t at = FOOTER_HEADER_BYTES + (uint64_t)footer->n_projects * PROJECT_BYTES + batches * BATCH_RECORD_BYTES;
    if (!lies_in(footer, at, (uint64_t)footer->n_postings * POSTING_BYTES))
        return damaged(id, 36, "more postings than the file has room for", err);
    footer->postings = footer->data + at;
    for (uint32_t i = 0; i < footer->n_postings; i++, at += POSTING_BYTES) {
        const uint8_t *posting = footer->data + at;
        if (!lies_in(footer, get_u64(posting), (uint64_t)posting[21] + get_u16(posting + 22)) ||
            !lies_in(footer, get_u64(posting + 8), 4 * (uint64_t)get_u32(posting + 16)))
            return damaged(id, at, "a posting that passes the end of the file", err);
    }
    return true;
}

static bool check(struct segment_footer *footer, uint64_t id, struct error *err)
{
    const uint8_t *data = footer->data;
    size_t end = footer->len - CHECKSUM_BYTES;
    if (memcmp(data, FOOTER_MAGIC, sizeof FOOTER_MAGIC) != 0)
        return damaged(id, 0, "not the footer of a segment", err);
    if (get_u64(data + 40) != footer->len)
        return damaged(id, 40, "the file does not have the length that it says", err);
    if (crc32c(0, data, end) != get_u32(data + end))
        return damaged(id, 0, "the footer's checksum does not match", err);
    if (get_u32(data + 8) != FOOTER_VERSION)
        return damaged(id, 8, "another format version", err);
    if (get_u64(data + 16) != id)
        return damaged(id, 16, "the footer is another segment's", err);
    return check_shape(footer, id, err);
}

bool segment_footer_open(struct disk *disk, int directory, uint64_t id, struct segment_footer **out, struct error *err)
{
    char name[SEGMENT_NAME_SIZE];
    segment_footer_name_format(id, name);
    int fd = disk->ops->open(disk, directory, name, O_RDONLY);
    if (fd < 0)
        return error_set_errno(err, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_UNAVAILABLE, errno, "cannot open %s", name);
    struct stat status;
    void *data = MAP_FAILED;
    int failure = fstat(fd, &status) == 0 ? 0 : errno;
    bool too_short = !failure && status.st_size < FOOTER_HEADER_BYTES + CHECKSUM_BYTES;
    if (!failure && !too_short) {
        data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
        failure = data == MAP_FAILED ? errno : 0;
    }
    close(fd);
    if (too_short)
        return damaged(id, 0, "the file is too short for a footer", err);
    if (failure)
        return error_set_errno(err, ERROR_UNAVAILABLE, failure, "cannot map %s", name);
    struct segment_footer *footer = mem_zalloc(sizeof *footer);
    footer->data = data;
    footer->len = (size_t)status.st_size;
    if (!check(footer, id, err)) {
        segment_footer_close(footer);
        return false;
    }
    *out = footer;
    return true;
}

void segment_footer_close(struct segment_footer *footer)
{
    if (!footer)
        return;
    munmap((void *)footer->data, footer->len);
    free(footer);
}

struct bytes segment_footer_bytes(const struct segment_footer *footer)
{
    return bytes_of(footer->data, footer->len);
}

uint32_t segment_footer_projects(const struct segment_footer *footer)
{
    return footer->n_projects;
}

static const uint8_t *project_at(const struct segment_footer *footer, uint32_t project)
{
    return footer->data + FOOTER_HEADER_BYTES + (size_t)project * PROJECT_BYTES;
}

void segment_footer_view(const struct segment_footer *footer, uint32_t number, struct batch_view *view)
{
    const uint8_t *project = project_at(footer, number);
    *view =
        (struct batch_view) { .flat = footer->data + get_u64(project + 24), .n = get_u32(project + 32), .last_lsn = get_u64(project + 16) };
}

/* A posting against a name; collection NULL: of any. */
static int compare_posting(const struct segment_footer *footer, const uint8_t *posting, struct bytes branch_id,
                           const struct bytes *collection)
{
    const uint8_t *names = footer->data + get_u64(posting);
    size_t branch_len = posting[21];
    int order = bytes_compare(bytes_of(names, branch_len), branch_id);
    if (order)
        return order;
    bool any = posting[20] != 0;
    if (any)
        return collection ? -1 : 0;
    if (!collection)
        return 1;
    return bytes_compare(bytes_of(names + branch_len, get_u16(posting + 22)), *collection);
}

bool segment_footer_find(const struct segment_footer *footer, uint32_t number, struct bytes branch_id, const struct bytes *collection,
                         struct batch_list *list)
{
    const uint8_t *project = project_at(footer, number);
    uint32_t low = get_u32(project + 36), high = low + get_u32(project + 40);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const uint8_t *posting = footer->postings + (size_t)middle * POSTING_BYTES;
        int order = compare_posting(footer, posting, branch_id, collection);
        if (order == 0) {
            *list = (struct batch_list) { footer->data + get_u64(posting + 8), get_u32(posting + 16) };
            return true;
        }
        if (order > 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}
