/* inside: an account's TUN. What should be there (addresses, routes, MTU) is computed from the configuration and dp's exact MTUs,
 * compared with what was put there, and the difference is made. A TUN that cannot be opened, or whose namespace was deleted, is
 * opened anew: every INSIDE_RETRY there is a look.
 */
#include "daemon.h"

#include <stdlib.h>

struct set { /* routes, or addresses (without metric); sorted by prefix */
    struct io_route *v;
    size_t n;
};

struct inside {
    struct daemon *daemon;
    uint32_t account;
    struct io_tun *tun; /* NULL: not there now */
    uint64_t look_at;   /* can it be opened now; does its namespace still exist */
    bool complained;    /* one line per outage */
    bool leaving;       /* inside_close_left() closes it */
    bool lost;          /* a worker found it gone */
    uint32_t mtu;
    struct set addresses, routes; /* as they were put there */
};

struct io_tun *inside_tun(const struct daemon *d, uint32_t account)
{
    const struct inside *in = account < d->handles.n_accounts ? d->handles.accounts[account].inside : NULL;
    return in ? in->tun : NULL;
}

static const struct config_account *config_of(const struct inside *in)
{
    return in->daemon->handles.accounts[in->account].row;
}

static void tell(struct inside *in, enum log_level level, const char *event, const char *reason)
{
    const struct config_account *row = config_of(in);
    LOG(&in->daemon->log, io_clock_now(), level, event, LOG_STR("account", config_account_label(row)),
        LOG_STR("device", row->device), LOG_STR("netns", row->netns ? row->netns : ""), LOG_STR("reason", reason));
}

static void complain(struct inside *in, const char *event, const struct io_error *e)
{
    tell(in, LOG_LEVEL_ERROR, event, e->text);
}

/* ---- what should be there */

static uint32_t tunnel_mtu(const struct daemon *d, uint32_t tunnel)
{
    struct dp_tunnel_info info;
    return tunnel != TUNNEL_NONE && dp_tunnel_info(d->dp, tunnel, &info) ? info.mtu : 0;
}

static int compare_prefix(const struct prefix *a, const struct prefix *b)
{
    int by_addr = addr_compare(&a->addr, &b->addr);
    return by_addr ? by_addr : (int)a->len - (int)b->len;
}

static int compare_routes(const void *a, const void *b)
{
    const struct io_route *x = a, *y = b;
    int by_prefix = compare_prefix(&x->prefix, &y->prefix);
    return by_prefix ? by_prefix : (x->mtu > y->mtu) - (x->mtu < y->mtu);
}

static void set_free(struct set *s)
{
    free(s->v);
    *s = (struct set){0};
}

/* The kernel gets aggregates; which tunnel a packet takes is dp's choice. Of one prefix the smallest MTU counts (sorted first), and
 * a prefix inside another of the same MTU says nothing new. Returns how many remain. */
static size_t aggregate(struct io_route *v, size_t n)
{
    size_t kept = 0, cover = 0;
    for (size_t i = 0; i < n; i++) {
        if (kept && prefix_equal(&v[kept - 1].prefix, &v[i].prefix))
            continue;
        if (kept && prefix_contains(&v[cover].prefix, &v[i].prefix.addr)) {
            if (v[cover].mtu == v[i].mtu)
                continue;
        } else
            cover = kept;
        v[kept++] = v[i];
    }
    return kept;
}

static enum rc wanted_routes(const struct inside *in, struct set *ret)
{
    const struct config_account *row = config_of(in);
    struct io_route *v = calloc(row->routes.n + 1, sizeof *v);
    if (!v)
        return RC_NOMEM;
    for (size_t i = 0; i < row->routes.n; i++) {
        uint32_t tunnel = handles_find_tunnel(&in->daemon->handles, in->account, row->routes.v[i].tunnel);
        v[i] = (struct io_route){.prefix = row->routes.v[i].prefix, .mtu = tunnel_mtu(in->daemon, tunnel)};
    }
    qsort(v, row->routes.n, sizeof *v, compare_routes);
    *ret = (struct set){.v = v, .n = aggregate(v, row->routes.n)};
    return RC_OK;
}

static enum rc wanted_addresses(const struct inside *in, struct set *ret)
{
    const struct config_account *row = config_of(in);
    struct set s = {.v = calloc(2 * row->tunnels.n + 1, sizeof *s.v)};
    if (!s.v)
        return RC_NOMEM;
    for (size_t i = 0; i < row->tunnels.n; i++) {
        const struct config_tunnel *t = &row->tunnels.v[i];
        uint32_t mtu = tunnel_mtu(in->daemon, handles_find_tunnel(&in->daemon->handles, in->account, t->name));
        if (t->interface_address.addr.family)
            s.v[s.n++] = (struct io_route){.prefix = t->interface_address, .mtu = mtu};
        if (t->interface_address6.addr.family)
            s.v[s.n++] = (struct io_route){.prefix = t->interface_address6, .mtu = mtu};
    }
    qsort(s.v, s.n, sizeof *s.v, compare_routes);
    *ret = s;
    return RC_OK;
}

/* MTU of the TUN: the largest inner MTU of its tunnels. */
static uint32_t wanted_mtu(const struct inside *in)
{
    const struct config_account *row = config_of(in);
    uint32_t mtu = 0;
    for (size_t i = 0; i < row->tunnels.n; i++) {
        uint32_t m =
            tunnel_mtu(in->daemon, handles_find_tunnel(&in->daemon->handles, in->account, row->tunnels.v[i].name));
        if (m > mtu)
            mtu = m;
    }
    return mtu ? mtu : 1500;
}

/* ---- making the difference */

typedef enum rc change(struct io_tun *tun, const struct io_route *entry, struct io_error *e);

static enum rc add_address(struct io_tun *tun, const struct io_route *entry, struct io_error *e)
{
    return io_address_add(tun, &entry->prefix, entry->mtu, e);
}

static enum rc remove_address(struct io_tun *tun, const struct io_route *entry, struct io_error *e)
{
    return io_address_remove(tun, &entry->prefix, e);
}

/* Both sets are sorted: one walk over the two. Takes `want`, which becomes what is there, without the entries that were refused
 * (somebody else's route stands there, the namespace has no IPv6): the next call tries those again. When the device itself is
 * the trouble, what is there is unknown, and the next call adds all of it, which is harmless. */
static enum rc sync_set(struct inside *in, struct set *have, struct set want, change *add, change *remove,
                        struct io_error *e)
{
    enum rc rc = RC_OK;
    size_t kept = 0;
    for (size_t i = 0, j = 0; i < have->n || j < want.n;) {
        int order = i == have->n ? 1 : j == want.n ? -1 : compare_prefix(&have->v[i].prefix, &want.v[j].prefix);
        if (order < 0)
            rc = remove(in->tun, &have->v[i], e);
        else if (order > 0 || have->v[i].mtu != want.v[j].mtu)
            rc = add(in->tun, &want.v[j], e); /* or replaces */
        else
            rc = RC_OK;
        if (rc == RC_ABSENT || rc == RC_NOMEM)
            break;
        if (rc != RC_OK)
            complain(in, "inside.refused", e);
        else if (order >= 0)
            want.v[kept++] = want.v[j];
        i += order <= 0;
        j += order >= 0;
    }
    want.n = kept;
    free(have->v);
    *have = want;
    if (rc != RC_ABSENT && rc != RC_NOMEM)
        return RC_OK;
    set_free(have);
    return rc;
}

static void forget_state(struct inside *in)
{
    set_free(&in->addresses);
    set_free(&in->routes);
    in->mtu = 0;
}

/* ---- the device: a queue of it for every forwarder */

struct queues {
    uint32_t account;
    struct io_tun *tun;
    enum rc rc;
    struct io_error *error;
};

static void add_queue(struct forward *f, void *arg)
{
    struct queues *q = arg;
    if (q->rc == RC_OK)
        q->rc = forward_tun_add(f, q->account, q->tun, q->error);
}

static void remove_queue(struct forward *f, void *arg)
{
    forward_tun_remove(f, *(const uint32_t *)arg);
}

/* No queue of the device is read any more. When this was in every thread, no packet of it is on its way from one to another either,
 * and another account may have the number. */
static void none_on_the_way(struct forward *f, void *arg)
{
    (void)f, (void)arg;
}

/* Nobody uses it any more: it is the caller's, to be closed. NULL: there was none. */
static struct io_tun *take_tun(struct inside *in)
{
    struct io_tun *tun = in->tun;
    if (!tun)
        return NULL;
    crew_call(in->daemon->crew, remove_queue, &in->account);
    crew_call(in->daemon->crew, none_on_the_way, NULL);
    in->tun = NULL;
    in->lost = false;
    in->daemon->handles.accounts[in->account].open = false;
    forget_state(in);
    return tun;
}

static void close_tun(struct inside *in)
{
    io_tun_close(take_tun(in));
}

static enum rc sync_tun(struct inside *in, struct io_error *e)
{
    struct set want;
    uint32_t mtu = wanted_mtu(in);
    enum rc rc = mtu == in->mtu ? RC_OK : io_link_up(in->tun, mtu, e);
    if (rc != RC_OK)
        return rc;
    in->mtu = mtu;
    rc = wanted_addresses(in, &want);
    if (rc == RC_OK)
        rc = sync_set(in, &in->addresses, want, add_address, remove_address, e);
    if (rc == RC_OK)
        rc = wanted_routes(in, &want);
    return rc == RC_OK ? sync_set(in, &in->routes, want, io_route_add, io_route_remove, e) : rc;
}

void inside_sync(struct daemon *d, uint32_t account)
{
    struct inside *in = d->handles.accounts[account].inside;
    struct io_error e = {"out of memory"};
    if (!in || !in->tun)
        return;
    enum rc rc = sync_tun(in, &e);
    if (rc == RC_ABSENT)
        inside_lost(d, account);
    else if (rc != RC_OK)
        complain(in, "inside.sync_failed", &e);
}

/* dp may put packets together that every TUN's kernel takes: TCP where there are offloads at all, UDP from Linux 6.2 on. */
static void agree_on_super_packets(struct daemon *d)
{
    uint8_t super = IO_SUPER_TCP | IO_SUPER_UDP;
    for (uint32_t i = 0; i < d->handles.n_accounts; i++)
        if (inside_tun(d, i))
            super &= io_tun_super(inside_tun(d, i));
    dp_coalesce(d->dp,
                (uint8_t)((super & IO_SUPER_TCP ? DP_COALESCE_TCP : 0) | (super & IO_SUPER_UDP ? DP_COALESCE_UDP : 0)));
}

static enum rc open_tun(struct inside *in, struct io_error *e)
{
    struct daemon *d = in->daemon;
    const struct config_account *row = config_of(in);
    struct io_tun_config config = {.netns = row->netns,
                                   .create = row->create,
                                   .device = row->device,
                                   .queues = crew_size(d->crew),
                                   .offload = true,
                                   .account = in->account};
    enum rc rc = io_tun_open(d->helper, &config, &in->tun, e);
    if (rc != RC_OK)
        return rc;
    agree_on_super_packets(d);
    struct queues queues = {.account = in->account, .tun = in->tun, .error = e};
    crew_call(d->crew, add_queue, &queues);
    if (queues.rc != RC_OK)
        close_tun(in);
    else
        d->handles.accounts[in->account].open = true;
    return queues.rc;
}

static void look_again(struct inside *in, uint64_t at)
{
    in->look_at = at;
    if (at < in->daemon->inside_at)
        in->daemon->inside_at = at;
}

static enum rc try_open(struct inside *in, struct io_error *e)
{
    enum rc rc = open_tun(in, e);
    if (rc != RC_OK || config_of(in)->netns)
        look_again(in, io_clock_now() + INSIDE_RETRY);
    return rc;
}

static void open_again(struct inside *in)
{
    struct io_error e = {"out of memory"};
    enum rc rc = try_open(in, &e);
    if (rc != RC_OK && !in->complained)
        complain(in, "inside.open_failed", &e);
    else if (rc == RC_OK && in->complained)
        tell(in, LOG_LEVEL_INFO, "inside.recovered", "the device is back");
    in->complained = rc != RC_OK;
}

enum rc inside_open(struct daemon *d, uint32_t account, struct io_error *e)
{
    struct inside *in = calloc(1, sizeof *in);
    if (!in)
        return RC_NOMEM;
    *in = (struct inside){.daemon = d, .account = account, .look_at = NEVER};
    d->handles.accounts[account].inside = in;
    if (!d->config) /* at start somebody is there to mend it */
        return try_open(in, e);
    open_again(in);
    return RC_OK;
}

void inside_lost(void *daemon, uint32_t account)
{
    struct daemon *d = daemon;
    struct inside *in = d->handles.accounts[account].inside;
    if (!in || !in->tun)
        return;
    tell(in, LOG_LEVEL_ERROR, "inside.lost", "the device or its namespace is gone; opened anew when it can be");
    in->complained = true;
    close_tun(in);
    look_again(in, io_clock_now() + INSIDE_RETRY);
}

static void note_lost(struct forward *f, void *arg)
{
    struct daemon *d = arg;
    for (uint32_t i = 0; i < d->handles.n_accounts; i++)
        if (d->handles.accounts[i].inside)
            d->handles.accounts[i].inside->lost |= forward_tun_is_lost(f, i);
}

void inside_lost_by_workers(void *daemon)
{
    struct daemon *d = daemon;
    crew_call(d->crew, note_lost, d);
    for (uint32_t i = 0; i < d->handles.n_accounts; i++)
        if (d->handles.accounts[i].inside && d->handles.accounts[i].inside->lost)
            inside_lost(d, i);
}

static void close_inside(struct daemon *d, uint32_t account)
{
    struct inside *in = d->handles.accounts[account].inside;
    if (!in)
        return;
    close_tun(in);
    forget_state(in);
    free(in);
    d->handles.accounts[account].inside = NULL;
}

void inside_leave(struct daemon *d, uint32_t account)
{
    struct inside *in = d->handles.accounts[account].inside;
    if (in)
        in->leaving = true;
}

void inside_close_left(struct daemon *d)
{
    struct io_tun **tuns = calloc(d->handles.n_accounts + 1, sizeof(struct io_tun *));
    size_t n = 0;
    for (uint32_t i = 0; i < d->handles.n_accounts; i++) {
        struct inside *in = d->handles.accounts[i].inside;
        if (!in || !in->leaving)
            continue;
        if (tuns && in->tun)
            tuns[n++] = take_tun(in);
        close_inside(d, i); /* the device too, if there was no memory for a list */
    }
    if (n)
        io_tuns_close(tuns, n);
    free(tuns);
}

static void look(struct inside *in, uint64_t now)
{
    if (in->tun && io_tun_is_orphan(in->tun))
        inside_lost(in->daemon, in->account);
    if (in->tun)
        look_again(in, now + INSIDE_RETRY);
    else {
        open_again(in);
        inside_sync(in->daemon, in->account);
    }
}

/* After every round of the loop: all accounts are looked through only when one is due. */
uint64_t inside_tick(struct daemon *d, uint64_t now)
{
    if (now < d->inside_at)
        return d->inside_at;
    d->inside_at = NEVER;
    for (uint32_t i = 0; i < d->handles.n_accounts; i++) {
        struct inside *in = d->handles.accounts[i].inside;
        if (in && in->look_at <= now)
            look(in, now);
        else if (in)
            look_again(in, in->look_at);
    }
    return d->inside_at;
}
