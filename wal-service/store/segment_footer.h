/* The footer of a sealed segment: its index, in a file of its own beside it, mapped.
 *
 * "segment-<id, 16 hex digits>.index". It holds nothing that the segment does not say: it can be thrown away at
 * any time, and the same segment always gives the same bytes. A start, which reads every frame anyway, makes
 * them again and compares: a footer that differs in any byte is not used, and is written anew.
 *
 *     at  bytes  what
 *      0      8  magic, "ARGONIDX"
 *      8      4  format version, 1
 *     12      4  projects
 *     16      8  id of the segment
 *     24      8  byte where the segment ends
 *     32      4  checksum of the last group's header before that
 *     36      4  postings
 *     40      8  length of this file
 *     48      8  entries
 *     56      8  zeros
 *     64         projects, 48 bytes each, in the order in which they first occur in the segment
 *                batches of all projects, 24 bytes each (batch_view.h)
 *                postings of all projects, 24 bytes each, by project, branch id, "of any collection" first, collection
 *                lists of batch numbers, 4 bytes each
 *                names: project ids, and for each posting branch id and collection
 *   last      4  CRC32C of everything before
 *
 *     project            posting
 *      0  8  id at        0  8  names at: branch id, collection
 *      8  8  first LSN    8  8  list at
 *     16  8  last LSN    16  4  batches in the list
 *     24  8  batches at  20  1  1: of any collection
 *     32  4  batches     21  1  length of the branch id
 *     36  4  first posting   22  2  length of the collection
 *     40  4  postings
 *     44  4  length of the id
 *
 * Threads    any, once it is open.
 */
#ifndef ARGON_WAL_STORE_SEGMENT_FOOTER_H
#define ARGON_WAL_STORE_SEGMENT_FOOTER_H

#include "wal-service/store/batch_table.h"
#include "wal-service/store/disk.h"

/* How a segment ends: what its successor says of it. */
struct segment_end {
    uint64_t id;
    uint64_t end;
    uint32_t checksum; /* of the last group's header */
};

/* buffer->failed: no memory. */
void segment_footer_encode(const struct segment_end *end, const struct batch_table *table, uint64_t entries, struct buffer *out);

struct segment_footer;

/* Maps and checks the footer of a segment. NOT_FOUND: there is none. DATA_LOSS names file and byte. */
CHECKED bool segment_footer_open(struct disk *disk, int directory, uint64_t id, struct segment_footer **footer, struct error *err);
void segment_footer_close(struct segment_footer *footer); /* NULL is fine */

struct bytes segment_footer_bytes(const struct segment_footer *footer);
uint32_t segment_footer_projects(const struct segment_footer *footer);

/* As of batch_table, with the same numbers of projects. */
void segment_footer_view(const struct segment_footer *footer, uint32_t project, struct batch_view *view);
bool segment_footer_find(const struct segment_footer *footer, uint32_t project, struct bytes branch_id, const struct bytes *collection,
                         struct batch_list *list);

#endif
