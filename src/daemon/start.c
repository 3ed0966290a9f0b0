/* What is built in which order, and taken down again. Privileges drop after the last step that needs them. */
#include "daemon.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAX_TUNNELS CONFIG_TUNNELS_MAX
#define MAX_ROUTES (CONFIG_ROUTES_MAX + 2 * CONFIG_TUNNELS_MAX) /* interface subnets are routes too */

struct daemon *daemon_new(const char *path, struct config *config, struct io_helper *helper)
{
    struct daemon *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->path = path;
    d->next = config;
    d->helper = helper;
    d->lock_fd = -1;
    d->inside_at = NEVER;
    d->started = io_clock_now();
    d->watchdog_interval = io_notify_watchdog_interval();
    return d;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t watchdog(struct daemon *d, uint64_t now)
{
    if (d->watchdog_interval == NEVER)
        return NEVER;
    if (d->watchdog_at <= now) {
        io_notify("WATCHDOG=1");
        d->watchdog_at = now + d->watchdog_interval;
    }
    return d->watchdog_at;
}

static uint64_t stopping(struct daemon *d, uint64_t now)
{
    if (!d->stop_at)
        return NEVER;
    if (ike_idle(d->ike) || now >= d->stop_at)
        io_loop_stop(d->loop);
    return d->stop_at;
}

/* After each round of the loop, and at the deadline this returned last. */
static uint64_t round_done(void *ctx, uint64_t now)
{
    struct daemon *d = ctx;
    uint64_t next = crew_round(d->crew, now);
    traffic_events(d, now);
    traffic_tick(d, now);
    next = earlier(next, traffic_retired(d, now));
    traffic_publish(d);
    next = earlier(next, ike_deadline(d->ike));
    next = earlier(next, inside_tick(d, now));
    next = earlier(next, d->control ? io_control_tick(d->control, now) : NEVER);
    next = earlier(next, watchdog(d, now));
    return earlier(next, stopping(d, now));
}

void daemon_shutdown(struct daemon *d)
{
    uint64_t now = io_clock_now();
    struct ike_cmd cmd = {.type = IKE_CMD_SHUTDOWN};
    if (d->stop_at)
        return;
    d->stop_at = now + SHUTDOWN_PATIENCE;
    io_notify("STOPPING=1");
    if (ike_command(d->ike, now, &cmd, &d->acts) != RC_OK)
        d->stop_at = now; /* nobody can be told */
    traffic_execute(d);
}

static void on_signal(void *ctx, int signo)
{
    struct daemon *d = ctx;
    struct io_error text;
    if (signo != SIGHUP) {
        daemon_shutdown(d);
        return;
    }
    io_notify_reloading();
    if (apply_reload(d, &text) != RC_OK) /* logged there */
        io_notify("STATUS=the last reload was refused; see the log");
    io_notify("READY=1");
}

/* The kernel spreads port 4500 and, in packet mode, ESP by SPI modulo workers: straight to the one that has the tunnel, as dp gives them
 * out by handle. */
static uint32_t inbound_spi(void *ctx, uint32_t tunnel, const struct rng *rng)
{
    const struct daemon *d = ctx;
    uint32_t spi = rng_u32(rng), workers = crew_workers(d->crew);
    return spi - spi % workers + tunnel % workers;
}

static void worker_failed(void *ctx, const struct io_error *why)
{
    struct daemon *d = ctx;
    d->failure = *why;
    io_loop_stop(d->loop);
}

static enum rc cores_new(struct daemon *d, struct io_error *e)
{
    const struct config *c = d->next;
    struct ike_config ike = {.log = &d->log,
                             .crypto = d->crypto,
                             .rng = &d->rng,
                             .spi_source = c->workers ? inbound_spi : NULL,
                             .spi_ctx = d,
                             .unix_time_at_zero = io_clock_unix() - io_clock_now() / NS_PER_S};
    config_ike_policy(c, &ike.policy);
    /* RFC 6054: a sender id of its own for every start, so that no (key, IV) repeats */
    struct dp_config dp = {.crypto = d->crypto,
                           .rng = &d->rng,
                           .sender_id = rng_u32(&d->rng) & 0xffffff,
                           .max_tunnels = MAX_TUNNELS,
                           .max_sas = c->ike.max_sas,
                           .max_routes = MAX_ROUTES,
                           .workers = c->workers};
    *e = (struct io_error){"starting the cores failed: out of memory"}; /* unless somebody says more */
    enum rc rc = dp_new(&dp, &d->dp);
    const struct crew_config crew = {.workers = c->workers,
                                     .dp = d->dp,
                                     .loop = d->loop,
                                     .datagram = traffic_datagram,
                                     .lost = inside_lost_by_workers,
                                     .tun_lost = inside_lost,
                                     .failed = worker_failed,
                                     .ctx = d};
    if (rc == RC_OK)
        rc = crew_new(&crew, &d->crew, e);
    return rc == RC_OK ? ike_new(&ike, &d->ike) : rc;
}

static enum rc base_new(struct daemon *d, struct io_error *e)
{
    enum rc rc = io_logsink_new(STDERR_FILENO, d->next->log.format == CONFIG_LOG_JSON, &d->sink);
    if (rc == RC_OK) {
        d->log = (struct log){.emit = io_logsink_emit, .ctx = d->sink, .level = LOG_LEVEL_INFO};
        rc = io_entropy_new(&d->entropy, e);
    }
    if (rc != RC_OK)
        return rc;
    d->rng = io_entropy_rng(d->entropy);
    rc = crypto_new(&d->rng, &d->crypto);
    if (rc != RC_OK)
        *e = (struct io_error){
            "the cryptographic library does not start: is it OpenSSL 3.5 or newer? see aditd --version"};
    return rc;
}

static void helper_ready(void *ctx, unsigned events)
{
    struct daemon *d = ctx;
    (void)events;
    io_loop_unwatch(&d->helper_watch);
    LOG(&d->log, io_clock_now(), LOG_LEVEL_ERROR, "daemon.helper_lost",
        LOG_U64("pid", (uint64_t)io_helper_pid(d->helper)),
        LOG_STR("remedy", "a namespace that comes back is not found any more: restart aditd"));
}

/* Without an account in a namespace of its own nobody has to keep CAP_SYS_ADMIN. */
static enum rc helper_needed(struct daemon *d, struct io_error *e)
{
    if (!apply_wants_helper(d->next)) {
        io_helper_stop(d->helper);
        d->helper = NULL;
        return RC_OK;
    }
    d->helper_watch = (struct io_watch){.fd = io_helper_fd(d->helper), .ready = helper_ready, .ctx = d};
    return io_loop_watch(d->loop, &d->helper_watch, e);
}

static enum rc control_new(struct daemon *d, struct io_error *e)
{
    struct io_control_config control = {
        .path = d->config->control.path, .group = d->config->control.group, .request = control_request, .ctx = d};
    return io_control_open(d->loop, &control, &d->control, e);
}

void daemon_look_at_host(struct daemon *d)
{
    bool gre = false, ipsec = false;
    for (uint32_t i = 0; i < d->handles.n_tunnels; i++)
        if (d->handles.tunnels[i].row)
            *(d->handles.tunnels[i].row->type == TUNNEL_IPSEC ? &ipsec : &gre) = true;
    d->n_warnings = io_host_hazards(gre, ipsec, d->warnings, WARNINGS_MAX);
    for (uint32_t i = 0; i < d->handles.n_accounts; i++)
        if (inside_tun(d, i))
            d->n_warnings +=
                io_tun_hazards(inside_tun(d, i), d->warnings + d->n_warnings, WARNINGS_MAX - d->n_warnings);
    for (size_t i = 0; i < d->config->endpoints.n && d->n_warnings < WARNINGS_MAX; i++) {
        char text[ADDR_TEXT];
        if (io_address_is_local(&d->config->endpoints.v[i]))
            continue;
        snprintf(
            d->warnings[d->n_warnings++].text, sizeof d->warnings[0].text,
            "endpoint %s is no address of this host, so its packets do not arrive here: ip address add %s/%d dev lo",
            addr_text(&d->config->endpoints.v[i], text), text, d->config->endpoints.v[i].family == 4 ? 32 : 128);
    }
    for (size_t i = 0; i < d->n_warnings; i++)
        LOG(&d->log, io_clock_now(), LOG_LEVEL_WARN, "daemon.host", LOG_STR("warning", d->warnings[i].text));
}

enum rc daemon_start(struct daemon *d, struct io_error *e)
{
    const struct io_loop_hooks hooks = {.round = round_done, .signal = on_signal, .ctx = d};
    size_t rows = 0;
    enum rc rc = io_privileges_check(apply_wants_helper(d->next), e);
    if (rc == RC_OK)
        rc = base_new(d, e);
    if (rc == RC_OK)
        rc = io_instance_lock(&d->lock_fd, e);
    if (rc == RC_OK)
        rc = io_loop_new(&hooks, &d->loop, e);
    if (rc == RC_OK)
        rc = io_loop_signals(d->loop, e);
    if (rc == RC_OK)
        rc = cores_new(d, e);
    if (rc == RC_OK)
        rc = helper_needed(d, e);
    if (rc == RC_OK && (rc = apply_config(d, d->next, &rows, e)) == RC_OK)
        d->next = NULL;
    if (rc == RC_OK)
        rc = control_new(d, e);
    if (rc != RC_OK)
        return rc;
    daemon_look_at_host(d);
    rc = io_privileges_drop(e);
    /* Capabilities and the filter are a thread's: those of the workers are ours now. */
    return rc == RC_OK ? crew_start(d->crew, e) : rc;
}

enum rc daemon_run(struct daemon *d, struct io_error *e)
{
    LOG(&d->log, io_clock_now(), LOG_LEVEL_INFO, "daemon.started", LOG_STR("version", ADIT_VERSION),
        LOG_U64("tunnels", d->config->n_tunnels), LOG_U64("endpoints", d->config->endpoints.n),
        LOG_U64("workers", crew_workers(d->crew)));
    io_notify("READY=1");
    enum rc rc = io_loop_run(d->loop, e);
    if (rc == RC_OK && d->failure.text[0]) {
        *e = d->failure;
        rc = RC_UNSUPPORTED;
    }
    LOG(&d->log, io_clock_now(), LOG_LEVEL_INFO, "daemon.stopped", LOG_BOOL("peers_told", ike_idle(d->ike)));
    return rc;
}

void daemon_free(struct daemon *d)
{
    if (!d)
        return;
    crew_stop(d->crew);
    for (uint32_t i = 0; i < d->handles.n_accounts; i++)
        inside_leave(d, i);
    inside_close_left(d);
    io_control_close(d->control);
    sockets_close(d);
    crew_free(d->crew);
    io_loop_unwatch(&d->helper_watch);
    io_loop_free(d->loop);
    if (d->ike)
        acts_clear(d->ike, &d->acts);
    ike_free(d->ike);
    dp_free(d->dp);
    crypto_free(d->crypto);
    io_entropy_free(d->entropy);
    io_logsink_free(d->sink);
    io_helper_stop(d->helper);
    if (d->lock_fd >= 0)
        close(d->lock_fd);
    handles_free(&d->handles);
    config_free(d->config);
    config_free(d->next);
    free(d);
}
