/* replay DIR: run every capture of a folder (NAME.pcap, NAME.keys.json, NAME.esp_keys.json) through the IKE codec, the
 * key schedule and ESP, and compare all values with those logged. TAP on stdout; exit 1 if anything differs. */
#include "../unit/lib/replay.h"

int main(int argc, char **argv)
{
    struct replay_result ret = {0};
    if (argc != 2) {
        fprintf(stderr, "usage: replay DIR\n");
        return 2;
    }
    replay_folder(argv[1], stdout, &ret);
    printf("1..%zu\n# %zu passed, %zu failed; decrypted: %zu IKE packets, %zu ESP packets\n", ret.passed + ret.failed,
           ret.passed, ret.failed, ret.ike_packets, ret.esp_packets);
    return ret.failed ? 1 : 0;
}
