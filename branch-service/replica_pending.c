/* What a replica knows without asking the log, until it follows: nothing. */
#include "branch-service/project_internal.h"
#include "branch-service/registry.h"

bool registry_find_known(struct registry *registry, const char *name, int64_t deadline, struct project **project, struct error *err)
{
    return registry_find(registry, name, deadline, project, err);
}

bool project_is_known(struct project *project)
{
    mutex_lock(&project->lock);
    bool attached = project->attached;
    mutex_unlock(&project->lock);
    return attached;
}

void project_note_append(struct project *project, const struct log_incarnation *incarnation, const struct log_run *runs, size_t n_runs,
                         uint64_t first_lsn, uint64_t last_lsn)
{
    (void)project, (void)incarnation, (void)runs, (void)n_runs, (void)first_lsn, (void)last_lsn;
}
