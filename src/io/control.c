/* The control socket: lines in, lines out, one answer at a time per client.
 *
 * What a client can cost is bounded: its request by IO_CONTROL_REQUEST_MAX, its time by IO_CONTROL_IDLE, and the answers that all
 * clients have not read yet by PENDING_MAX, beyond which nobody is answered until somebody reads. Clients beyond
 * IO_CONTROL_CLIENTS wait in the kernel's queue. */
#include "error.h"

#include <errno.h>
#include <grp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PENDING_MAX (64u << 20) /* the last answer may exceed it */
#define GROUPS_MAX 256          /* of a peer: supplementary groups looked at */
#define NO_GROUP ((gid_t)-1)

struct client {
    struct io_control *control;
    struct io_watch watch; /* fd -1: a free place */
    uint64_t active_at;    /* it asked or read then */
    bool ended;            /* it will send no more */
    struct buf in;         /* not answered yet */
    struct buf out;
    size_t sent; /* of out */
};

struct io_control {
    struct io_loop *loop;
    enum rc (*request)(void *ctx, struct span line, struct buf *ret);
    void *ctx;
    gid_t group;
    struct sockaddr_un name;
    dev_t device; /* of the socket's file: another may stand there when we end */
    ino_t inode;
    struct io_watch listener;
    struct client clients[IO_CONTROL_CLIENTS];
};

/* ---- clients */

static size_t pending(const struct io_control *c)
{
    size_t sum = 0;
    for (size_t i = 0; i < IO_CONTROL_CLIENTS; i++)
        sum += c->clients[i].out.n - c->clients[i].sent;
    return sum;
}

static void client_close(struct client *client)
{
    if (client->watch.fd < 0)
        return;
    io_loop_unwatch(&client->watch);
    close(client->watch.fd);
    buf_free(&client->in);
    buf_free(&client->out);
    *client = (struct client){.control = client->control, .watch.fd = -1};
    io_loop_change(&client->control->listener, IO_READ); /* a place is free again */
}

/* False: the connection is broken. */
static bool client_send(struct client *client)
{
    while (client->sent < client->out.n) {
        ssize_t n = send(client->watch.fd, client->out.p + client->sent, client->out.n - client->sent,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0) {
            client->sent += (size_t)n;
            client->active_at = io_clock_now();
        }
    }
    buf_free(&client->out);
    client->sent = 0;
    return true;
}

/* Reads what is there, up to the limit. False: broken, or the request is too long. */
static bool client_receive(struct client *client)
{
    uint8_t piece[4096];
    while (client->in.n < IO_CONTROL_REQUEST_MAX) {
        ssize_t n = recv(client->watch.fd, piece, sizeof piece, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n < 0 && errno != EINTR)
            return false;
        if (n == 0) {
            client->ended = true;
            return true;
        }
        client->active_at = io_clock_now();
        if (n > 0 && buf_append(&client->in, span_of(piece, (size_t)n)) != RC_OK)
            return false;
    }
    return memchr(client->in.p, '\n', client->in.n) != NULL;
}

/* The first line of client->in, without its newline; false when it is not complete. */
static bool next_line(const struct client *client, struct span *ret)
{
    const uint8_t *end = client->in.n ? memchr(client->in.p, '\n', client->in.n) : NULL;
    if (!end)
        return false;
    *ret = span_of(client->in.p, (size_t)(end - client->in.p));
    return true;
}

static enum rc answer(struct client *client, struct span line)
{
    struct io_control *c = client->control;
    size_t taken = line.n + 1;
    enum rc rc = c->request(c->ctx, line, &client->out);
    if (rc == RC_OK)
        rc = buf_append(&client->out, span_str("\n"));
    memmove(client->in.p, client->in.p + taken, client->in.n - taken);
    client->in.n -= taken;
    return rc;
}

/* Answers what can be answered now, then waits for what is missing: a line, or that the answer is read. */
static void client_serve(struct client *client)
{
    struct span line;
    bool good = client_send(client);
    while (good && client->out.n == 0 && next_line(client, &line) && pending(client->control) < PENDING_MAX)
        good = answer(client, line) == RC_OK && client_send(client);
    bool asks = next_line(client, &line);
    if (!good || (client->ended && !asks && client->out.n == 0)) {
        client_close(client);
        return;
    }
    unsigned reading = client->ended || asks || client->out.n ? 0 : IO_READ;
    io_loop_change(&client->watch, reading | (client->out.n ? IO_WRITE : 0));
}

/* Whoever waited for others to read may be next. */
static void serve_waiting(struct io_control *c)
{
    for (size_t i = 0; i < IO_CONTROL_CLIENTS; i++)
        if (c->clients[i].watch.fd >= 0 && c->clients[i].in.n)
            client_serve(&c->clients[i]);
}

static void client_ready(void *ctx, unsigned events)
{
    struct client *client = ctx;
    if (events & IO_READ && !client_receive(client))
        client_close(client);
    else
        client_serve(client);
    if (client->watch.fd >= 0 && events & IO_HANGUP) /* nobody is there to read the answer */
        client_close(client);
    serve_waiting(client->control);
}

/* ---- who may connect: the file's mode says so already, this holds wherever its folder is and whoever changed it */

static bool is_member(int fd, gid_t group)
{
    gid_t groups[GROUPS_MAX];
    socklen_t size = sizeof groups;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
        return false;
    for (size_t i = 0; i < size / sizeof *groups; i++)
        if (groups[i] == group)
            return true;
    return false;
}

static bool is_allowed(const struct io_control *c, int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return false;
    return peer.uid == 0 || peer.uid == geteuid() ||
           (c->group != NO_GROUP && (peer.gid == c->group || is_member(fd, c->group)));
}

static struct client *free_place(struct io_control *c)
{
    for (size_t i = 0; i < IO_CONTROL_CLIENTS; i++)
        if (c->clients[i].watch.fd < 0)
            return &c->clients[i];
    return NULL;
}

static void listener_ready(void *ctx, unsigned events)
{
    struct io_control *c = ctx;
    struct client *client;
    (void)events;
    while ((client = free_place(c))) {
        int fd = accept4(c->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (fd < 0)
            return;
        client->watch =
            (struct io_watch){.fd = fd, .events = IO_READ, .urgent = true, .ready = client_ready, .ctx = client};
        client->active_at = io_clock_now();
        if (!is_allowed(c, fd) || io_loop_watch(c->loop, &client->watch, NULL) != RC_OK)
            client_close(client);
    }
    io_loop_change(&c->listener, 0); /* full: until a client leaves */
}

uint64_t io_control_tick(struct io_control *control, uint64_t now)
{
    uint64_t next = NEVER;
    bool closed = false;
    for (size_t i = 0; i < IO_CONTROL_CLIENTS; i++) {
        struct client *client = &control->clients[i];
        if (client->watch.fd < 0)
            continue;
        uint64_t end = client->active_at + IO_CONTROL_IDLE;
        if (end <= now) {
            client_close(client);
            closed = true;
        } else if (end < next)
            next = end;
    }
    if (closed)
        serve_waiting(control);
    return next;
}

/* ---- the socket's file */

static enum rc find_group(const char *name, gid_t *ret, struct io_error *ret_error)
{
    struct group group, *found = NULL;
    char names[16 * 1024];
    int error = getgrnam_r(name, &group, names, sizeof names, &found);
    if (error)
        return io_fail_errno(ret_error, io_rc_of_errno(error), error, "control.group %s", name);
    if (!found)
        return io_fail(ret_error, RC_ABSENT, "control.group %s: no such group: `groupadd --system %s`", name, name);
    *ret = group.gr_gid;
    return RC_OK;
}

static enum rc make_folder(const struct io_control *c, struct io_error *ret_error)
{
    char folder[sizeof c->name.sun_path];
    snprintf(folder, sizeof folder, "%s", c->name.sun_path);
    char *slash = strrchr(folder, '/');
    if (!slash || slash == folder)
        return RC_OK;
    *slash = 0;
    if (mkdir(folder, 0750) < 0)
        return errno == EEXIST
                   ? RC_OK
                   : io_fail_errno(ret_error, io_rc_of_errno(errno), errno, "the control socket's folder %s", folder);
    if (c->group != NO_GROUP && chown(folder, (uid_t)-1, c->group) < 0)
        return io_fail_errno(ret_error, io_rc_of_errno(errno), errno, "giving %s to the group of control.group",
                             folder);
    return RC_OK;
}

/* A daemon that was killed leaves its file behind: nobody answers there any more. */
static enum rc remove_stale(const struct io_control *c, struct io_error *ret_error)
{
    const char *path = c->name.sun_path;
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? RC_OK : io_fail_errno(ret_error, io_rc_of_errno(errno), errno, "%s", path);
    if (!S_ISSOCK(st.st_mode))
        return io_fail(ret_error, RC_EXISTS, "%s exists and is no socket: remove it, or choose another control.path",
                       path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return io_fail_errno(ret_error, io_rc_of_errno(errno), errno, "control socket");
    bool refused = connect(fd, (const struct sockaddr *)&c->name, sizeof c->name) < 0 && errno == ECONNREFUSED;
    close(fd);
    if (!refused)
        return io_fail(ret_error, RC_EXISTS,
                       "%s: another daemon listens there: stop it, or choose another control.path", path);
    if (unlink(path) < 0 && errno != ENOENT)
        return io_fail_errno(ret_error, io_rc_of_errno(errno), errno, "removing the stale %s", path);
    return RC_OK;
}

/* Nobody can connect before listen(), so the file has its mode and group in time. */
static enum rc bind_file(struct io_control *c, int fd, struct io_error *ret_error)
{
    const char *path = c->name.sun_path;
    struct stat st;
    enum rc rc = make_folder(c, ret_error);
    if (rc == RC_OK)
        rc = remove_stale(c, ret_error);
    if (rc != RC_OK)
        return rc;
    if (bind(fd, (const struct sockaddr *)&c->name, sizeof c->name) < 0)
        return io_fail_errno(ret_error, io_rc_of_errno(errno), errno, "control socket %s", path);
    if ((c->group != NO_GROUP && chown(path, (uid_t)-1, c->group) < 0) ||
        chmod(path, c->group == NO_GROUP ? 0600 : 0660) < 0 || lstat(path, &st) < 0 ||
        listen(fd, IO_CONTROL_CLIENTS) < 0) {
        int error = errno;
        unlink(path);
        return io_fail_errno(ret_error, io_rc_of_errno(error), error, "control socket %s: mode, group or listen", path);
    }
    c->device = st.st_dev;
    c->inode = st.st_ino;
    return RC_OK;
}

static void remove_file(const struct io_control *c)
{
    struct stat st;
    if (lstat(c->name.sun_path, &st) == 0 && st.st_dev == c->device && st.st_ino == c->inode)
        unlink(c->name.sun_path);
}

static enum rc open_socket(struct io_control *c, const struct io_control_config *config, struct io_error *ret_error)
{
    size_t n = strlen(config->path);
    if (n >= sizeof c->name.sun_path)
        return io_fail(ret_error, RC_RANGE, "control.path %s: longer than the %zu octets of a Unix socket's name",
                       config->path, sizeof c->name.sun_path - 1);
    memcpy(c->name.sun_path, config->path, n);
    enum rc rc = config->group ? find_group(config->group, &c->group, ret_error) : RC_OK;
    if (rc != RC_OK)
        return rc;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return io_fail_errno(ret_error, io_rc_of_errno(errno), errno, "control socket");
    rc = bind_file(c, fd, ret_error);
    if (rc == RC_OK) {
        c->listener = (struct io_watch){.fd = fd, .events = IO_READ, .urgent = true, .ready = listener_ready, .ctx = c};
        rc = io_loop_watch(c->loop, &c->listener, ret_error);
        if (rc != RC_OK)
            remove_file(c);
    }
    if (rc != RC_OK)
        close(fd);
    return rc;
}

enum rc io_control_open(struct io_loop *loop, const struct io_control_config *config, struct io_control **ret,
                        struct io_error *ret_error)
{
    struct io_control *c = calloc(1, sizeof *c);
    if (!c)
        return io_fail(ret_error, RC_NOMEM, "out of memory for the control socket");
    c->loop = loop;
    c->request = config->request;
    c->ctx = config->ctx;
    c->group = NO_GROUP;
    c->name.sun_family = AF_UNIX;
    for (size_t i = 0; i < IO_CONTROL_CLIENTS; i++)
        c->clients[i] = (struct client){.control = c, .watch.fd = -1};
    enum rc rc = open_socket(c, config, ret_error);
    if (rc != RC_OK) {
        free(c);
        return rc;
    }
    *ret = c;
    return RC_OK;
}

void io_control_close(struct io_control *control)
{
    if (!control)
        return;
    remove_file(control);
    for (size_t i = 0; i < IO_CONTROL_CLIENTS; i++)
        client_close(&control->clients[i]);
    io_loop_unwatch(&control->listener);
    close(control->listener.fd);
    free(control);
}
