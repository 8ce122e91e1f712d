#include "wal-service/store/segment_verify.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/memory.h"
#include "wal-service/store/segment_directory.h"
#include "wal-service/store/segment_footer.h"
#include "wal-service/store/segment_recovery.h"
#include "wal-service/store/segment_walk.h"

#define uthash_malloc(size) mem_alloc(size)
#define uthash_fatal(what)  abort()
#include <uthash.h>

struct verified_project {
    UT_hash_handle hh;
    uint64_t head;
    uint64_t known;   /* the stretch of undamaged segments in which head was found */
    uint64_t segment; /* in which it has a number in the table */
    uint32_t number;
    size_t id_len;
    uint8_t id[];
};

struct found_header {
    struct segment_header header;
    struct error damage;
};

struct verification {
    struct segment_directory directory;
    struct segment_reader reader;
    struct frame_scratch scratch;
    struct buffer footer;
    struct verified_project *projects;
    uint64_t stretch; /* grows at each damage: what follows it cannot be held against what came before */
    uint64_t *ids;
    size_t n;
    struct found_header *headers;
};

const char *segment_state_name(enum segment_state state)
{
    static const char *const names[] = { "active", "sealed", "compressed", "missing" };
    return names[state];
}

/* ---- frames --------------------------------------------------------------------------------------- */

static struct verified_project *project_of(struct verification *verification, struct bytes id)
{
    struct verified_project *project;
    HASH_FIND(hh, verification->projects, id.data, id.len, project);
    if (!project) {
        project = mem_zalloc(sizeof *project + id.len);
        project->id_len = id.len;
        memcpy(project->id, id.data, id.len);
        /* in an undamaged log a project begins at LSN 1 */
        project->known = verification->stretch == 0 ? 0 : UINT64_MAX;
        HASH_ADD_KEYPTR(hh, verification->projects, project->id, id.len, project);
    }
    return project;
}

static bool check_frames(struct verification *verification, const struct walked_group *group, struct batch_table *table,
                         struct segment_verdict *verdict)
{
    struct bytes payload = group->payload;
    uint64_t at = group->offset + GROUP_HEADER_BYTES;
    struct frame frame;
    size_t size;
    for (; payload.len > 0; payload = bytes_of(payload.data + size, payload.len - size), at += size) {
        if (!frame_decode(payload, &frame, &size, &verification->scratch, &verdict->damage))
            return segment_reader_wrap(&verification->reader, at, &verdict->damage);
        struct verified_project *project = project_of(verification, frame.project);
        if (project->known == verification->stretch && frame.first_lsn != project->head + 1)
            return segment_reader_damaged(&verification->reader, at, "a batch that does not follow the last one of its project",
                                          &verdict->damage);
        project->head = frame_last_lsn(&frame);
        project->known = verification->stretch;
        if (project->segment != verdict->id) {
            project->segment = verdict->id;
            project->number = batch_table_add_project(table, frame.project);
        }
        batch_table_add(table, project->number, &frame, (uint32_t)at, (uint32_t)size);
        verdict->frames++;
        verdict->entries += frame.entries;
    }
    verdict->groups += group->payload.len > 0;
    return true;
}

/* ---- segments ------------------------------------------------------------------------------------- */

static bool bad_group(struct segment_walk *walk, const struct walked_group *group, bool last, struct segment_verdict *verdict)
{
    struct error *damage = &verdict->damage;
    if (!last)
        return segment_reader_damaged(walk->reader, walk->offset, "a bad group, and a later segment after it", damage);
    if (group->carried)
        return segment_reader_damaged(walk->reader, walk->offset, "a bad group that was synced with its segment", damage);
    return segment_walk_search_rest(walk, &verdict->torn_bytes, damage);
}

/* successor NULL: the segment is the last one, or where it ends is not known. */
static bool walk_segment(struct verification *verification, const struct segment_header *segment, const struct segment_header *successor,
                         bool last, struct batch_table *table, struct segment_verdict *verdict)
{
    struct segment_reader *reader = &verification->reader;
    struct segment_walk walk;
    struct walked_group group;
    enum group_state state;
    segment_walk_init(&walk, reader, segment,
                      successor        ? successor->predecessor_end
                      : reader->packed ? reader->pack.content
                                       : segment->length);
    do {
        if (!segment_walk_next(&walk, &state, &group, &verdict->damage))
            return false;
        if (state == GROUP_WHOLE && !check_frames(verification, &group, table, verdict))
            return false;
        /* without the successor's word it may be the end */
        if ((state == GROUP_WITHOUT_HEADER || state == GROUP_WITHOUT_PAYLOAD) && (successor || last) &&
            !bad_group(&walk, &group, last, verdict))
            return false;
    } while (state == GROUP_WHOLE);
    verdict->bytes = walk.offset;
    if (successor &&
        (walk.offset != walk.end || walk.checksum != successor->predecessor_checksum || walk.sequence != successor->first_sequence))
        return segment_reader_damaged(reader, walk.offset, "it does not end as the next segment says", &verdict->damage);
    return true;
}

static void check_footer(struct verification *verification, const struct segment_header *successor, const struct batch_table *table,
                         struct segment_verdict *verdict)
{
    struct segment_footer *footer;
    struct error failure = { 0 };
    struct segment_end end = { verdict->id, successor->predecessor_end, successor->predecessor_checksum };
    if (verdict->frames == 0)
        return;
    if (!segment_footer_open(&system_disk, verification->directory.fd, verdict->id, &footer, &failure)) {
        if (failure.code == ERROR_NOT_FOUND)
            verdict->footer_missing = true;
        else
            verdict->other_damage = failure;
        return;
    }
    segment_footer_encode(&end, table, verdict->entries, &verification->footer);
    struct bytes should = buffer_bytes(&verification->footer), is = segment_footer_bytes(footer);
    if (verification->footer.failed) {
        error_set(&verdict->other_damage, ERROR_RESOURCE_EXHAUSTED, "no memory to check the footer");
    } else if (!bytes_equal(should, is)) {
        char name[SEGMENT_NAME_SIZE];
        size_t at = 0;
        while (at < should.len && at < is.len && should.data[at] == is.data[at])
            at++;
        segment_footer_name_format(verdict->id, name);
        error_set(&verdict->other_damage, ERROR_DATA_LOSS, "%s, byte %zu: it does not say what the segment says", name, at);
    }
    segment_footer_close(footer);
}

/* A compressed file beside its original: nobody reads it yet. */
static void check_spare(struct verification *verification, struct segment_verdict *verdict)
{
    struct segment_reader spare;
    struct error failure = { 0 };
    const uint8_t *data;
    segment_reader_init(&spare, &system_disk, verification->directory.fd);
    if (segment_reader_open_file(&spare, verdict->id, true, &failure)) {
        bool ok = true;
        for (uint64_t at = 0; ok && at < spare.pack.content; at += PACK_BLOCK_BYTES)
            ok = segment_reader_at(&spare, at, 1, 1, &data, &failure);
    }
    segment_reader_destroy(&spare);
    if (failure.code != ERROR_OK && failure.code != ERROR_NOT_FOUND)
        verdict->other_damage = failure;
}

static void verify_segment(struct verification *verification, size_t i, struct segment_verdict *verdict)
{
    const struct found_header *found = &verification->headers[i];
    bool last = i + 1 == verification->n;
    const struct segment_header *successor = NULL;
    if (!last && verification->ids[i + 1] == verdict->id + 1 && verification->headers[i + 1].damage.code == ERROR_OK)
        successor = &verification->headers[i + 1].header;
    if (!segment_reader_open(&verification->reader, verdict->id, &verdict->damage))
        return;
    verdict->state = verification->reader.packed ? SEGMENT_COMPRESSED : last ? SEGMENT_ACTIVE : SEGMENT_SEALED;
    (verification->reader.packed ? segment_packed_name_format : segment_name_format)(verdict->id, verdict->name);
    verdict->damage = found->damage;
    if (found->damage.code != ERROR_OK)
        return;
    struct batch_table *table = batch_table_new();
    if (walk_segment(verification, &found->header, successor, last, table, verdict) && successor)
        check_footer(verification, successor, table, verdict);
    batch_table_free(table);
    if (last && verification->reader.packed && verdict->damage.code == ERROR_OK)
        error_set(&verdict->damage, ERROR_DATA_LOSS, "%s: compressed, but the segment after it is missing", verdict->name);
    if (!verification->reader.packed && verdict->other_damage.code == ERROR_OK)
        check_spare(verification, verdict);
}

/* ---- the log -------------------------------------------------------------------------------------- */

static void read_headers(struct verification *verification)
{
    const struct segment_header *before = NULL;
    for (size_t i = 0; i < verification->n; i++) {
        struct found_header *found = &verification->headers[i];
        uint64_t id = verification->ids[i];
        bool follows = i > 0 && verification->ids[i - 1] + 1 == id;
        bool ok = segment_reader_open(&verification->reader, id, &found->damage) &&
                  segment_reader_header(&verification->reader, &found->header, &found->damage);
        /* behind a header that cannot be read there is nothing to hold this one against */
        if (ok && (i == 0 || (follows && before)))
            ok = segment_check_link(&verification->reader, before, &found->header, &found->damage);
        before = ok ? &found->header : NULL;
    }
}

static void tell(struct verification *verification, const struct segment_verdict *verdict, verify_visit_fn *visit, void *ctx,
                 struct verify_summary *summary)
{
    bool damaged = verdict->damage.code != ERROR_OK;
    verification->stretch += damaged;
    summary->segments++;
    summary->damaged += damaged || verdict->other_damage.code != ERROR_OK;
    summary->groups += verdict->groups;
    summary->frames += verdict->frames;
    summary->entries += verdict->entries;
    visit(ctx, verdict);
}

static void verify_all(struct verification *verification, verify_visit_fn *visit, void *ctx, struct verify_summary *summary)
{
    verification->headers = mem_zalloc((verification->n + 1) * sizeof verification->headers[0]);
    read_headers(verification);
    for (size_t i = 0; i < verification->n; i++) {
        struct segment_verdict verdict = { .id = i ? verification->ids[i - 1] + 1 : verification->ids[0] };
        if (verdict.id < verification->ids[i]) { /* a hole is told once */
            verdict.state = SEGMENT_MISSING;
            segment_name_format(verdict.id, verdict.name);
            error_set(&verdict.damage, ERROR_DATA_LOSS, "%s is missing", verdict.name);
            tell(verification, &verdict, visit, ctx, summary);
        }
        verdict = (struct segment_verdict) { .id = verification->ids[i] };
        segment_name_format(verdict.id, verdict.name);
        verify_segment(verification, i, &verdict);
        tell(verification, &verdict, visit, ctx, summary);
    }
}

bool segment_log_verify(const char *directory, verify_visit_fn *visit, void *ctx, struct verify_summary *out, struct error *err)
{
    struct verification verification = { 0 };
    struct verify_summary summary = { 0 };
    if (!segment_directory_open_to_read(&verification.directory, directory, err))
        return false;
    segment_reader_init(&verification.reader, &system_disk, verification.directory.fd);
    bool ok = segment_directory_list(&verification.directory, NULL, &verification.ids, &verification.n, err);
    if (ok)
        verify_all(&verification, visit, ctx, &summary);
    struct verified_project *project, *next;
    HASH_ITER(hh, verification.projects, project, next)
    {
        HASH_DEL(verification.projects, project);
        free(project);
    }
    free(verification.headers);
    free(verification.ids);
    buffer_destroy(&verification.footer);
    frame_scratch_destroy(&verification.scratch);
    segment_reader_destroy(&verification.reader);
    segment_directory_close(&verification.directory);
    if (ok)
        *out = summary;
    return ok;
}
