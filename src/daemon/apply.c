/* A configuration, or the difference between two, becomes commands to the cores and to the accounts' insides.
 * Rows that did not change are not touched. When one is refused, the difference back to the running configuration, computed
 * beforehand, undoes what was done: each step may therefore find its work done already.
 */
#include "daemon.h"

#include <stdio.h>
#include <stdlib.h>

/* Sections that a running daemon cannot follow stay as they were until a restart: config_diff() names them. */
static const char *const section_words[] = {
#define X(member, ...) #member,
    CONFIG_TOP_FIELDS(X)
#undef X
};

static enum rc fail(struct io_error *e, enum rc rc, const char *what, const char *account, const char *tunnel)
{
    snprintf(e->text, sizeof e->text, "%s %s%s%s: %s", what, account ? account : "", account && tunnel ? "/" : "",
             tunnel ? tunnel : "", rc_name(rc));
    return rc;
}

static enum rc command(struct daemon *d, const struct ike_cmd *cmd)
{
    enum rc rc = ike_command(d->ike, io_clock_now(), cmd, &d->acts);
    traffic_execute(d);
    return rc == RC_ABSENT ? RC_OK : rc;
}

/* ---- rows */

/* A handle is best used again when no worker can still see who had it before. */
static void note_garbage(struct daemon *d)
{
    const struct grace *g = crew_grace(d->crew);
    d->handles.coming = g ? grace_taken(g) + 1 : 0;
    d->handles.freed = g ? grace_freed(g) : 0;
}

static enum rc tunnel_gone(struct daemon *d, const struct config_account *account, const struct config_tunnel *row)
{
    uint32_t a = handles_find_account(&d->handles, account->id);
    uint32_t tunnel = handles_find_tunnel(&d->handles, a, row->name);
    struct ike_cmd cmd = {.type = IKE_CMD_TUNNEL_REMOVE, .handle = tunnel};
    if (tunnel == TUNNEL_NONE)
        return RC_OK;
    enum rc rc = row->type == TUNNEL_IPSEC ? command(d, &cmd) : RC_OK;
    dp_tunnel_remove(d->dp, tunnel);
    d->unpublished = true;
    note_garbage(d);
    handles_drop_tunnel(&d->handles, tunnel);
    return rc;
}

static enum rc tunnel_set(struct daemon *d, const struct config *next, const struct config_tunnel *row)
{
    uint32_t tunnel, protect = TUNNEL_NONE;
    struct tunnel_policy policy;
    note_garbage(d);
    enum rc rc = handles_tunnel(&d->handles, row, &tunnel);
    const struct config_tunnel *protector = config_tunnel_protector(row);
    if (rc == RC_OK && protector)
        rc = handles_tunnel(&d->handles, protector, &protect);
    if (rc != RC_OK)
        return rc;
    d->handles.tunnels[tunnel].row = row;
    config_tunnel_policy(next, row, tunnel, d->handles.tunnels[tunnel].account, protect, &policy);
    rc = dp_tunnel_set(d->dp, &policy);
    if (rc == RC_LIMIT && crew_grace(d->crew)) { /* the handle's last holder may still be in a worker's batch */
        traffic_publish(d);
        grace_wait(crew_grace(d->crew));
        rc = dp_tunnel_set(d->dp, &policy);
    }
    d->unpublished = true;
    struct ike_cmd cmd = {.type = IKE_CMD_TUNNEL_SET, .tunnel = &policy};
    if (rc == RC_OK && row->type == TUNNEL_IPSEC)
        rc = command(d, &cmd);
    wipe(&policy, sizeof policy);
    return rc;
}

static enum rc apply_tunnel(struct daemon *d, const struct config *next, const struct config_delta *delta)
{
    const struct config_tunnel *old = delta->old_tunnel, *row = delta->new_tunnel;
    enum rc rc = RC_OK;
    if (old && (!row || row->type != old->type)) /* another type under the same name is another tunnel */
        rc = tunnel_gone(d, delta->old_account, old);
    return rc == RC_OK && row ? tunnel_set(d, next, row) : rc;
}

static enum rc apply_route(struct daemon *d, const struct config_account *account, const struct config_delta *delta)
{
    const struct config_route *row = delta->new_route ? delta->new_route : delta->old_route;
    uint32_t a = handles_find_account(&d->handles, account->id);
    uint32_t tunnel = handles_find_tunnel(&d->handles, a, row->tunnel);
    d->unpublished = true;
    if (!delta->new_route) {
        if (tunnel != TUNNEL_NONE)
            dp_route_remove(d->dp, a, &row->prefix, tunnel);
        return RC_OK;
    }
    struct route_policy policy;
    config_route_policy(row, a, tunnel, &policy);
    return dp_route_set(d->dp, &policy);
}

/* Another namespace or device is another TUN. All that move or go are closed before the first is opened: two may change places. */
static void leave_places(struct daemon *d, const struct config_diff *diff)
{
    const uint64_t place =
        CONFIG_BIT(CONFIG_ACCOUNT_netns) | CONFIG_BIT(CONFIG_ACCOUNT_device) | CONFIG_BIT(CONFIG_ACCOUNT_create);
    for (const struct config_delta *delta = diff->v; delta < diff->v + diff->n; delta++) {
        bool goes = delta->change == CONFIG_REMOVED, moves = delta->change == CONFIG_CHANGED && delta->fields & place;
        if (delta->kind != CONFIG_KIND_ACCOUNT || !(goes || moves))
            continue;
        uint32_t account = handles_find_account(&d->handles, delta->old_account->id);
        /* Has it the new row already, then a change is undone that was not made. */
        if (account != ACCOUNT_NONE && d->handles.accounts[account].row != delta->new_account)
            inside_leave(d, account);
    }
    inside_close_left(d);
}

static enum rc apply_account(struct daemon *d, const struct config_delta *delta, struct io_error *e)
{
    uint32_t account;
    if (!delta->new_account) {
        account = handles_find_account(&d->handles, delta->old_account->id);
        if (account != ACCOUNT_NONE)
            handles_drop_account(&d->handles, account);
        return RC_OK;
    }
    enum rc rc = handles_account(&d->handles, delta->new_account, &account);
    if (rc != RC_OK)
        return fail(e, rc, "account", config_account_label(delta->new_account), NULL);
    d->handles.accounts[account].row = delta->new_account;
    return d->handles.accounts[account].inside ? RC_OK : inside_open(d, account, e);
}

static enum rc apply_delta(struct daemon *d, const struct config *next, const struct config_delta *delta,
                           struct io_error *e)
{
    const struct config_account *account = delta->new_account ? delta->new_account : delta->old_account;
    const char *label = config_account_label(account);
    const struct config_tunnel *tunnel = delta->new_tunnel ? delta->new_tunnel : delta->old_tunnel;
    const struct config_route *route = delta->new_route ? delta->new_route : delta->old_route;
    enum rc rc = RC_OK;
    switch (delta->kind) {
    case CONFIG_KIND_ACCOUNT: return apply_account(d, delta, e);
    case CONFIG_KIND_TUNNEL:
        rc = apply_tunnel(d, next, delta);
        if (rc != RC_OK)
            fail(e, rc, "tunnel", label, tunnel->name);
        break;
    case CONFIG_KIND_ROUTE:
        rc = apply_route(d, account, delta);
        if (rc != RC_OK)
            fail(e, rc, "route to", label, route->tunnel);
        break;
    }
    return rc;
}

/* ---- sections */

bool apply_wants_helper(const struct config *c)
{
    for (size_t i = 0; i < c->accounts.n; i++)
        if (c->accounts.v[i].netns)
            return true;
    return false;
}

static struct io_outer_want wanted_sockets(const struct config *c)
{
    struct io_outer_want want = {.endpoints = c->endpoints.v, .n_endpoints = c->endpoints.n};
    for (size_t a = 0; a < c->accounts.n; a++)
        for (size_t t = 0; t < c->accounts.v[a].tunnels.n; t++)
            *(c->accounts.v[a].tunnels.v[t].type == TUNNEL_IPSEC ? &want.ipsec : &want.gre) = true;
    return want;
}

/* Opens what is missing. What is not wanted any more stays open until the tunnels that used it have told their peers. */
static enum rc open_sockets(struct daemon *d, const struct config *next, struct io_error *e)
{
    struct io_outer_want want = wanted_sockets(next);
    if (!d->outer)
        return sockets_open(d, next, &want, e);
    struct io_outer_want before = wanted_sockets(d->config);
    struct addr *both = calloc(want.n_endpoints + before.n_endpoints + 1, sizeof *both);
    if (!both)
        return fail(e, RC_NOMEM, "endpoints", NULL, NULL);
    for (size_t i = 0; i < want.n_endpoints + before.n_endpoints; i++)
        both[i] = i < want.n_endpoints ? want.endpoints[i] : before.endpoints[i - want.n_endpoints];
    want.endpoints = both;
    want.n_endpoints += before.n_endpoints;
    want.gre |= before.gre;
    want.ipsec |= before.ipsec;
    enum rc rc = sockets_set(d, &want, e);
    free(both);
    return rc;
}

static void close_sockets(struct daemon *d, const struct config *now)
{
    struct io_outer_want want = wanted_sockets(now);
    struct io_error e;
    if (sockets_set(d, &want, &e) != RC_OK)
        LOG(&d->log, io_clock_now(), LOG_LEVEL_ERROR, "daemon.sockets_failed", LOG_STR("reason", e.text));
}

static enum rc apply_ike_policy(struct daemon *d, const struct config *next)
{
    struct ike_policy policy;
    config_ike_policy(next, &policy);
    struct ike_cmd cmd = {.type = IKE_CMD_POLICY, .policy = &policy};
    return command(d, &cmd);
}

static void apply_log(struct daemon *d, const struct config *next)
{
    if (d->log.rate != next->log.rate)
        memset(d->log.classes, 0, sizeof d->log.classes); /* their buckets have the old rate */
    d->log.level = (enum log_level)next->log.level;
    d->log.rate = next->log.rate;
    d->log.burst = next->log.rate * 2;
    io_logsink_set_json(d->sink, next->log.format == CONFIG_LOG_JSON);
}

static enum rc apply_sections(struct daemon *d, const struct config *next, const struct config_diff *diff,
                              struct io_error *e)
{
    enum rc rc = open_sockets(d, next, e);
    if (rc != RC_OK)
        return rc;
    rc = dp_endpoints_set(d->dp, next->endpoints.v, next->endpoints.n);
    if (rc == RC_OK && (diff->sections & CONFIG_BIT(CONFIG_TOP_ike)) && d->config)
        rc = apply_ike_policy(d, next);
    if (rc != RC_OK)
        return fail(e, rc, "endpoints and ike", NULL, NULL);
    d->unpublished = true;
    apply_log(d, next);
    return RC_OK;
}

/* ---- all of it */

/* All rows are in: tables, sockets and the kernel's routes follow. */
static void settle(struct daemon *d, const struct config *now)
{
    handles_repoint(&d->handles, now);
    traffic_publish(d);
    for (uint32_t i = 0; i < d->handles.n_tunnels; i++) {
        struct dp_tunnel_info info;
        if (d->handles.tunnels[i].row && dp_tunnel_info(d->dp, i, &info))
            d->handles.tunnels[i].mtu = info.mtu;
    }
    for (uint32_t i = 0; i < d->handles.n_accounts; i++)
        inside_sync(d, i);
    close_sockets(d, now);
}

static enum rc apply_diff(struct daemon *d, const struct config *next, const struct config_diff *diff,
                          struct io_error *e)
{
    enum rc rc = apply_sections(d, next, diff, e);
    if (rc == RC_OK)
        leave_places(d, diff);
    for (size_t i = 0; rc == RC_OK && i < diff->n; i++)
        rc = apply_delta(d, next, &diff->v[i], e);
    if (rc != RC_OK)
        return rc;
    traffic_publish(d);
    return d->unpublished ? fail(e, RC_NOMEM, "tables of the datapath", NULL, NULL) : RC_OK;
}

static void roll_back(struct daemon *d, const struct config_diff *back)
{
    struct io_error e = {"out of memory"};
    enum rc rc = apply_sections(d, d->config, back, &e);
    leave_places(d, back);
    for (size_t i = 0; i < back->n; i++)
        if (apply_delta(d, d->config, &back->v[i], &e) != RC_OK)
            rc = RC_NOMEM;
    if (rc != RC_OK)
        LOG(&d->log, io_clock_now(), LOG_LEVEL_ERROR, "daemon.rollback_failed", LOG_STR("reason", e.text),
            LOG_STR("remedy", "restart aditd"));
    settle(d, d->config);
}

enum rc apply_config(struct daemon *d, struct config *next, size_t *ret_changes, struct io_error *e)
{
    struct config_diff diff = {0}, back = {0};
    if (d->config && !d->helper && apply_wants_helper(next)) {
        snprintf(e->text, sizeof e->text,
                 "%s: an account now has a netns, but the namespace helper only starts with the daemon: restart it",
                 d->path);
        return RC_UNSUPPORTED;
    }
    enum rc rc = config_diff(d->config, next, &diff);
    if (rc == RC_OK && d->config)
        rc = config_diff(next, d->config, &back);
    if (rc != RC_OK)
        fail(e, rc, "comparing configurations", NULL, NULL);
    else if ((rc = apply_diff(d, next, &diff, e)) == RC_OK) {
        settle(d, next);
        *ret_changes = diff.n;
        config_free(d->config);
        d->config = next;
    } else if (d->config)
        roll_back(d, &back);
    config_diff_free(&diff);
    config_diff_free(&back);
    return rc;
}

static void absent_words(const struct daemon *d, struct io_error *ret)
{
    size_t at = strlen(ret->text), absent = 0;
    for (uint32_t i = 0; i < d->handles.n_accounts; i++)
        absent += d->handles.accounts[i].row && !d->handles.accounts[i].open;
    if (absent)
        snprintf(ret->text + at, sizeof ret->text - at, "; %zu account%s without a device: see `aditctl status`",
                 absent, absent == 1 ? "" : "s");
}

static void restart_words(uint64_t restart, struct io_error *ret)
{
    size_t at = strlen(ret->text);
    const char *before = "; changed, but only followed after a restart:";
    for (unsigned i = 0; i < ARRAY_LEN(section_words) && at < sizeof ret->text; i++)
        if (restart & CONFIG_BIT(i)) {
            at += (size_t)snprintf(ret->text + at, sizeof ret->text - at, "%s %s", before, section_words[i]);
            before = ",";
        }
}

enum rc apply_reload(struct daemon *d, struct io_error *ret)
{
    struct config_reader reader = {.read = io_file_read};
    struct config_report report = {0};
    struct config_diff diff = {0};
    struct config *next = NULL;
    size_t changes = 0;
    uint64_t restart = 0;
    if (d->stop_at) {
        snprintf(ret->text, sizeof ret->text, "the daemon is shutting down");
        return RC_UNSUPPORTED;
    }
    enum rc rc = config_load(&reader, d->path, &report, &next);
    if (rc != RC_OK && config_report_line(&report, d->path, 0, ret->text, sizeof ret->text) != RC_OK)
        snprintf(ret->text, sizeof ret->text, "%s: %s", d->path, rc_name(rc));
    if (rc == RC_OK && config_diff(d->config, next, &diff) == RC_OK) {
        restart = diff.restart;
        config_diff_free(&diff);
    }
    if (rc == RC_OK && (rc = apply_config(d, next, &changes, ret)) != RC_OK)
        config_free(next);
    if (rc == RC_OK) {
        snprintf(ret->text, sizeof ret->text, "%s: %zu row%s changed", d->path, changes, changes == 1 ? "" : "s");
        restart_words(restart, ret);
        absent_words(d, ret);
    }
    LOG(&d->log, io_clock_now(), rc == RC_OK ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR,
        rc == RC_OK ? "daemon.reloaded" : "daemon.reload_refused", LOG_STR("result", ret->text));
    if (rc == RC_OK)
        daemon_look_at_host(d);
    config_report_free(&report);
    return rc;
}
