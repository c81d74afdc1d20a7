/* killed_in_injection PID TID STEP: stop TID of PID, inject a clone, and be killed at STEP of it.
 *
 * After the last step there is nothing more to be killed at: "done", and the clone ends with us.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static int last_step;

static void die_at(int step)
{
	if (step == last_step)
		kill(getpid(), SIGKILL);
}

#define PMR_INJECTION_STEP(number) die_at(number)
#include "../../native/capture/inject.c"

static uint64_t find_stub(const char *pid)
{
	char path[64], line[512];
	snprintf(path, sizeof path, "/proc/%s/maps", pid);
	FILE *maps = fopen(path, "re");
	uint64_t end = 0;
	while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
		if (strstr(line, "[vdso]") != NULL)
			sscanf(line, "%*x-%lx", &end);
	return end - PMR_STUB_BYTES;
}

int main(int count, char **words)
{
	if (count < 4)
		return 2;
	char path[64];
	struct pmr_injection injection = { .call = 56, .is_clone = 1, .stub = find_stub(words[1]) };
	injection.arguments[0] = 0x400 | 0x200 | 0x40000 | 0x80000000u;
	last_step = atoi(words[3]);
	snprintf(path, sizeof path, "/proc/%s/mem", words[1]);
	injection.memory_fd = open(path, O_RDWR | O_CLOEXEC);
	injection.tid = atoi(words[2]);
	int status;
	if (ptrace(PTRACE_SEIZE, injection.tid, NULL, 0L) != 0 ||
	    ptrace(PTRACE_INTERRUPT, injection.tid, NULL, NULL) != 0 ||
	    waitpid(injection.tid, &status, __WALL) != injection.tid || status >> 16 != 128)
		return 3;
	int error = pmr_inject(&injection);
	if (error != 0) {
		fprintf(stderr, "error %d at step %d\n", error, injection.step);
		return 4;
	}
	puts("done");
	return 0;
}
