/* What systemd wants to know of a service of type notify. */
#include "adit/io.h"

#include <inttypes.h>
#include <systemd/sd-daemon.h>

void io_notify(const char *state)
{
    sd_notify(0, state);
}

void io_notify_reloading(void)
{
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, io_clock_now() / 1000);
}

uint64_t io_notify_watchdog_interval(void)
{
    uint64_t us;
    return sd_watchdog_enabled(0, &us) > 0 ? us * 1000 / 2 : NEVER;
}
