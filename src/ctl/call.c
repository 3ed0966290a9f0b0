/* The control socket from the client's side: one JSON object per line each way. */
#include "ctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define REPLY_TIMEOUT_S 30

static int connect_to(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof sa.sun_path) {
        fprintf(stderr, "aditctl: %s: the path is longer than a Unix socket's may be (%zu)\n", path,
                sizeof sa.sun_path - 1);
        return -1;
    }
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0) {
        const char *remedy = errno == ENOENT || errno == ECONNREFUSED
                                 ? ": is aditd running? (--socket names another path)"
                             : errno == EACCES ? ": run as root or as a member of its group"
                                               : "";
        fprintf(stderr, "aditctl: %s: %s%s\n", path, strerror(errno), remedy);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    struct timeval timeout = {.tv_sec = REPLY_TIMEOUT_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    return fd;
}

static bool send_line(int fd, const json_t *request)
{
    char *text = json_dumps(request, JSON_COMPACT);
    if (!text)
        return false;
    size_t n = strlen(text);
    text[n++] = '\n'; /* in the place of the NUL */
    bool ok = true;
    for (size_t sent = 0; ok && sent < n;) {
        ssize_t r = send(fd, text + sent, n - sent, MSG_NOSIGNAL);
        if (r < 0)
            ok = errno == EINTR;
        else
            sent += (size_t)r;
    }
    free(text);
    return ok;
}

static json_t *receive_line(int fd)
{
    FILE *in = fdopen(fd, "r");
    char *line = NULL;
    size_t cap = 0;
    json_t *reply = NULL;
    if (in && getline(&line, &cap, in) > 0)
        reply = json_loads(line, 0, NULL);
    free(line);
    if (in)
        fclose(in);
    else
        close(fd);
    return reply;
}

json_t *ctl_call(const char *socket_path, json_t *request)
{
    int fd = connect_to(socket_path);
    if (fd < 0)
        return NULL;
    if (!send_line(fd, request)) {
        fprintf(stderr, "aditctl: %s: sending failed: %s\n", socket_path, strerror(errno));
        close(fd);
        return NULL;
    }
    json_t *reply = receive_line(fd);
    json_t *result = json_object_get(reply, "result");
    if (!result) {
        const char *error = json_string_value(json_object_get(reply, "error"));
        fprintf(stderr, "aditctl: %s\n", error ? error : "the daemon closed the connection without an answer");
    } else
        json_incref(result);
    json_decref(reply);
    return result;
}
