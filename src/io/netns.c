/* Network namespaces by name, as ip-netns(8) keeps them: a file in /run/netns on which the namespace is mounted. Runs in the
 * helper only: entering needs CAP_SYS_ADMIN. */
#include "descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define SELF "/proc/thread-self/ns/net"

enum rc netns_path(const char *name, char ret[NETNS_PATH_MAX], struct io_error *ret_error)
{
    bool absolute = name[0] == '/';
    if (!absolute && (!name[0] || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, "..")))
        return io_fail(ret_error, RC_RANGE, "\"%s\" is not a name of a network namespace", name);
    char path[NETNS_PATH_MAX];
    int n = snprintf(path, sizeof path, "%s%s", absolute ? "" : NETNS_FOLDER "/", name);
    if (n < 0 || (size_t)n >= sizeof path)
        return io_fail(ret_error, RC_RANGE, "the name of the network namespace is too long");
    snprintf(ret, NETNS_PATH_MAX, "%s", path);
    return RC_OK;
}

/* The folder becomes a shared mount of its own, so that namespaces made later appear wherever it is seen. */
static bool prepare_folder(void)
{
    if (mkdir(NETNS_FOLDER, 0755) < 0 && errno != EEXIST)
        return false;
    if (mount("", NETNS_FOLDER, "none", MS_SHARED | MS_REC, NULL) == 0)
        return true;
    return errno == EINVAL && mount(NETNS_FOLDER, NETNS_FOLDER, "none", MS_BIND | MS_REC, NULL) == 0 &&
           mount("", NETNS_FOLDER, "none", MS_SHARED | MS_REC, NULL) == 0;
}

static enum rc make(const char *name, const char *path, int own_netns, struct io_error *ret_error)
{
    if (name[0] == '/')
        return io_fail(ret_error, RC_RANGE, "%s does not exist, and `create` makes namespaces in " NETNS_FOLDER " only",
                       path);
    if (!prepare_folder())
        return io_fail_errno(ret_error, io_rc_of_errno(errno), errno, "preparing " NETNS_FOLDER);
    int fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0);
    if (fd < 0)
        return io_fail_errno(ret_error, io_rc_of_errno(errno), errno, "creating %s", path);
    close(fd);
    int error = 0;
    if (unshare(CLONE_NEWNET) < 0 || mount(SELF, path, "none", MS_BIND, NULL) < 0)
        error = errno;
    if (setns(own_netns, CLONE_NEWNET) < 0)
        abort(); /* never serve from the wrong namespace */
    if (!error)
        return RC_OK;
    unlink(path);
    return io_fail_errno(ret_error, io_rc_of_errno(error), error, "creating network namespace %s", name);
}

enum rc netns_enter(const char *name, bool create, int own_netns, struct io_error *ret_error)
{
    char path[NETNS_PATH_MAX];
    enum rc rc = netns_path(name, path, ret_error);
    if (rc != RC_OK)
        return rc;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && create) {
        rc = make(name, path, own_netns, ret_error);
        if (rc != RC_OK)
            return rc;
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0 && errno == ENOENT)
        return io_fail(ret_error, RC_ABSENT,
                       "network namespace %s does not exist: `ip netns add %s`, or set `create: true` on the account",
                       name, name);
    if (fd < 0)
        return io_fail_errno(ret_error, io_rc_of_errno(errno), errno, "%s", path);
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0 || fs.f_type != NSFS_MAGIC)
        rc = io_fail(ret_error, RC_ABSENT,
                     "%s is not a network namespace: a leftover file? remove it, then `ip netns add %s`", path, name);
    else if (setns(fd, CLONE_NEWNET) < 0)
        rc = io_fail_errno(ret_error, io_rc_of_errno(errno), errno,
                           "entering network namespace %s (CAP_SYS_ADMIN is needed at start)", name);
    close(fd);
    return rc;
}
