/* Threads that share one client, while somebody kills the services: each write has one effect, a watch shows each one
 * once and in order. Writes a line after each write.
 *
 *     client_load THREADS WRITES         the service's address is in ARGON_ENDPOINT
 */
#include <argon/argon.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct argon_target items = { "c-load", "main", "items" }, counters = { "c-load", "main", "counters" };
static struct argon_client *argon;
static int threads, writes;

static void check(bool ok, const char *what, const struct argon_error *error)
{
    if (ok)
        return;
    fprintf(stderr, "%s: %d, %s\n", what, (int)error->code, error->message);
    exit(EXIT_FAILURE);
}

/* Once by find-one-and, whose answer tells it, and once in a bulk write, with a document that has an _id of the service's making. */
static void raise_own(int number, int i)
{
    const struct argon_target own = { items.project, items.branch, "own" };
    const struct argon_write_options after = { .after = true, .format = ARGON_FORMAT_RELAXED_JSON };
    struct argon_error error;
    char filter[64], expected[64];
    snprintf(filter, sizeof filter, "{\"_id\":%d}", number);
    snprintf(expected, sizeof expected, "{\"_id\":%d,\"n\":%d}", number, 2 * i + 1);
    const struct argon_operation operations[] = {
        { .kind = ARGON_UPDATE_ONE, .filter = ARGON_JSON(filter), .document = ARGON_JSON("{\"$inc\":{\"n\":1}}"), .upsert = true },
        { .kind = ARGON_INSERT_ONE, .document = ARGON_JSON(filter) },
        { .kind = ARGON_INSERT_ONE, .document = ARGON_JSON("{\"made\":true}") },
    };
    struct argon_answer *answer = argon_find_one_and(argon, &own, operations, &after, &error);
    check(answer, "find one and", &error);
    if (answer->document.len != strlen(expected) || memcmp(answer->document.data, expected, answer->document.len) != 0) {
        fprintf(stderr, "found %.*s, expected %s\n", (int)answer->document.len, (const char *)answer->document.data, expected);
        exit(EXIT_FAILURE);
    }
    argon_answer_free(answer);
    answer = argon_bulk_write(argon, &own, operations, 3, &(struct argon_write_options) { .unordered = true }, &error);
    check(answer, "bulk write", &error);
    if (answer->written.modified != 1 || answer->written.inserted != 1 || answer->n_errors != 1 || answer->errors[0].index != 1) {
        fprintf(stderr, "a bulk write has inserted %d, modified %d\n", (int)answer->written.inserted, (int)answer->written.modified);
        exit(EXIT_FAILURE);
    }
    argon_answer_free(answer);
}

/* Its counter, which all threads raise, and a document of its own: a second effect of a write would be seen in either. */
static void *write_all(void *number)
{
    const struct argon_document counter = ARGON_JSON("{\"_id\":\"counter\"}"), more = ARGON_JSON("{\"$inc\":{\"n\":1}}");
    struct argon_error error;
    struct argon_written written;
    for (int i = 0; i < writes; i++) {
        char text[64];
        snprintf(text, sizeof text, "{\"_id\":\"%d-%d\"}", *(int *)number, i);
        const struct argon_document own = ARGON_JSON(text);
        check(argon_insert(argon, &items, &own, 1, ARGON_FAIL, &written, &error) && written.inserted == 1, "insert", &error);
        check(argon_update(argon, &counters, &counter, &more, false, &written, &error) && written.modified == 1, "update", &error);
        raise_own(*(int *)number, i);
        puts("written");
        fflush(stdout);
    }
    return NULL;
}

static void *watch_all(void *after_lsn)
{
    const struct argon_watch_options options = { .after_lsn = *(uint64_t *)after_lsn, .format = ARGON_FORMAT_RELAXED_JSON };
    struct argon_error error;
    struct argon_change change;
    struct argon_watch *watch = argon_watch(argon, &counters, &options, &error);
    check(watch, "watch", &error);
    for (int n = 1; n <= threads * writes; n++) {
        char expected[64];
        snprintf(expected, sizeof expected, "{\"_id\":\"counter\",\"n\":%d}", n);
        check(argon_watch_next(watch, &change, &error), "watch", &error);
        if (change.document.len != strlen(expected) || memcmp(change.document.data, expected, change.document.len) != 0) {
            fprintf(stderr, "shown %.*s, expected %s\n", (int)change.document.len, (const char *)change.document.data, expected);
            exit(EXIT_FAILURE);
        }
    }
    argon_watch_close(watch);
    return NULL;
}

int main(int argc, char **argv)
{
    struct argon_error error;
    struct argon_written first;
    const struct argon_document counter = ARGON_JSON("{\"_id\":\"counter\",\"n\":0}");
    pthread_t watcher, writers[64];
    int numbers[64];
    uint64_t count = 0, n_made = 0;
    if (argc != 3 || (threads = atoi(argv[1])) > 64)
        return EXIT_FAILURE;
    writes = atoi(argv[2]);
    argon = argon_open(&(struct argon_options) { .timeout_ms = 120000 }, &error);
    check(argon, "open", &error);
    check(argon_create_project(argon, items.project, &error), "create project", &error);
    check(argon_insert(argon, &counters, &counter, 1, ARGON_FAIL, &first, &error), "first insert", &error);
    pthread_create(&watcher, NULL, watch_all, &first.lsn);
    for (int i = 0; i < threads; i++) {
        numbers[i] = i;
        pthread_create(&writers[i], NULL, write_all, &numbers[i]);
    }
    for (int i = 0; i < threads; i++)
        pthread_join(writers[i], NULL);
    pthread_join(watcher, NULL);
    check(argon_count(argon, &items, NULL, &count, &error), "count", &error);
    const struct argon_target own = { items.project, items.branch, "own" };
    const struct argon_query made = { .filter = ARGON_JSON("{\"made\":true}") };
    check(argon_count(argon, &own, &made, &n_made, &error), "count", &error);
    printf("%llu documents\n", (unsigned long long)count);
    argon_close(argon);
    return count == (uint64_t)threads * (uint64_t)writes && n_made == count ? EXIT_SUCCESS : EXIT_FAILURE;
}
