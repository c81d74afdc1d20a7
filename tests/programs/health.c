/* health MIB: a program that looks after itself, in every way that a dump could disturb it.
 *
 * Threads wait in epoll, sigtimedwait, read, a futex and nanosleep; one holds a pattern in its vector
 * registers, one sums its memory, one has children, one sends itself queued signals, one looks for a tracer.
 * At the end of its standard input it prints what it has noticed, as JSON, and exits with 1 if that is harm.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static atomic_int ending;
static atomic_long eintr, checksum_errors, vector_errors, unknown_children, wrong_children, children;
static atomic_long sigchlds, signals_sent, signals_got, tracer_seen, wall_children, ghost_events;
static atomic_long alarms, timer_ticks, longest_gap_us, pipe_bytes;
static char *memory;
static size_t memory_size;
static uint64_t memory_sum;

static int64_t now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void count_alarm(int number)
{
	(void)number;
	alarms++;
}

static void count_sigchld(int number)
{
	(void)number;
	sigchlds++;
}

static int epoll, timer, pair[2];

static void *in_epoll(void *argument)
{
	struct itimerspec every = { { 0, 10000000 }, { 0, 10000000 } };
	struct epoll_event event = { EPOLLIN, { .fd = timer } };
	(void)argument;
	timerfd_settime(timer, 0, &every, NULL);
	epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &event);
	event.data.fd = pair[0];
	epoll_ctl(epoll, EPOLL_CTL_ADD, pair[0], &event);
	while (!ending) {
		struct epoll_event got;
		int count = epoll_wait(epoll, &got, 1, 1000);
		if (count < 0 && errno == EINTR)
			eintr++;
		if (count == 1 && got.data.fd == timer) {
			uint64_t ticks;
			if (read(timer, &ticks, sizeof ticks) == sizeof ticks)
				timer_ticks += (long)ticks;
		} else if (count == 1) {
			ghost_events++;
		}
	}
	return NULL;
}

static void *in_sigtimedwait(void *argument)
{
	sigset_t set;
	(void)argument;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	while (!ending || signals_got < signals_sent) {
		struct timespec patience = { 1, 0 };
		int number = sigtimedwait(&set, NULL, &patience);
		if (number == SIGRTMIN)
			signals_got++;
		else if (errno == EINTR)
			eintr++;
		else if (ending)
			break;
	}
	return NULL;
}

static void *sending(void *argument)
{
	union sigval nothing = { 0 };
	(void)argument;
	while (!ending) {
		if (sigqueue(getpid(), SIGRTMIN, nothing) == 0)
			signals_sent++;
		usleep(2000);
	}
	return NULL;
}

static int pipe_ends[2];

static void *in_read(void *argument)
{
	char byte;
	(void)argument;
	for (;;) {
		ssize_t count = read(pipe_ends[0], &byte, 1);
		if (count == 0)
			return NULL; /* the only writer has closed: no other process has it open */
		if (count < 0 && errno == EINTR)
			eintr++;
		pipe_bytes += count > 0;
	}
}

static void *keeping_vectors(void *argument)
{
	(void)argument;
	while (!ending) {
		uint64_t in[2] = { 0x0123456789abcdefu ^ (uint64_t)now_us(), ~(uint64_t)now_us() }, out[2];
		for (int i = 0; i < 2000; i++) {
			__asm__ volatile("movdqu %1, %%xmm9\n\tmov $400, %%ecx\n1: dec %%ecx\n\tjnz 1b\n\t"
					 "movdqu %%xmm9, %0"
					 : "=m"(out)
					 : "m"(in)
					 : "xmm9", "ecx");
			if (memcmp(in, out, sizeof in) != 0)
				vector_errors++;
		}
		usleep(200);
	}
	return NULL;
}

static uint64_t sum(void)
{
	uint64_t total = 0;
	for (size_t i = 0; i < memory_size; i += 8)
		total = (total << 1 | total >> 63) ^ *(uint64_t *)(memory + i);
	return total;
}

static void *summing(void *argument)
{
	(void)argument;
	while (!ending) {
		if (sum() != memory_sum)
			checksum_errors++;
		usleep(20000);
	}
	return NULL;
}

static void *having_children(void *argument)
{
	(void)argument;
	while (!ending) {
		int status;
		pid_t child = fork();
		if (child == 0)
			_exit(7);
		for (;;) {
			pid_t got = waitpid(-1, &status, 0);
			if (got == child)
				break;
			if (got > 0)
				unknown_children++;
			else if (errno == EINTR)
				eintr++;
			else
				break;
		}
		children++;
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 7)
			wrong_children++;
		if (waitpid(-1, &status, WNOHANG | __WALL) > 0)
			wall_children++; /* of clone(2), which waitpid(-1) does not ask for */
		usleep(10000);
	}
	return NULL;
}

static void *looking(void *argument)
{
	int64_t before = now_us();
	(void)argument;
	for (int turn = 0; !ending; turn++) {
		struct timespec nap = { 0, 500000 };
		if (nanosleep(&nap, NULL) != 0)
			eintr++;
		int64_t now = now_us();
		if (now - before > longest_gap_us)
			longest_gap_us = now - before;
		if (turn % 2 == 0) {
			char text[4096];
			int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
			ssize_t size = read(file, text, sizeof text - 1);
			text[size > 0 ? size : 0] = 0;
			close(file);
			char *line = strstr(text, "TracerPid:\t");
			if (line != NULL && line[11] != '0')
				tracer_seen++;
		}
		before = now_us();
	}
	return NULL;
}

/* Without those that a thread has open for a moment. */
static int count_descriptors(void)
{
	int least = 1 << 30;
	for (int turn = 0; turn < 20; turn++) {
		int count = 0;
		DIR *directory = opendir("/proc/self/fd");
		while (directory != NULL && readdir(directory) != NULL)
			count++;
		closedir(directory);
		if (count < least)
			least = count;
		usleep(1500);
	}
	return least;
}

static uint64_t sum_vdso(void)
{
	uint64_t total = 0;
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	while (fgets(line, sizeof line, maps) != NULL) {
		unsigned long start, end;
		if (strstr(line, "[vdso]") != NULL && sscanf(line, "%lx-%lx", &start, &end) == 2)
			for (unsigned long at = start; at < end; at += 8)
				total = (total << 1 | total >> 63) ^ *(uint64_t *)at;
	}
	fclose(maps);
	return total;
}

int main(int count, char **words)
{
	void *(*const lives[])(void *) = { in_epoll, in_sigtimedwait, sending, in_read, keeping_vectors,
					   summing, having_children, looking };
	pthread_t threads[sizeof lives / sizeof *lives];
	struct itimerval every = { { 0, 20000 }, { 0, 20000 } };
	struct sigaction action = { .sa_handler = count_alarm, .sa_flags = SA_RESTART };
	sigset_t queued, alarms_only;
	struct rusage at_start, at_end;

	memory_size = (size_t)(count > 1 ? atol(words[1]) : 8) << 20;
	memory = mmap(NULL, memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < memory_size; i += 8)
		*(uint64_t *)(memory + i) = i * 0x9e3779b97f4a7c15u;
	memory_sum = sum();
	sigaction(SIGALRM, &action, NULL);
	action.sa_handler = count_sigchld;
	sigaction(SIGCHLD, &action, NULL);
	sigemptyset(&queued);
	sigaddset(&queued, SIGRTMIN);
	sigemptyset(&alarms_only);
	sigaddset(&alarms_only, SIGALRM);
	sigaddset(&alarms_only, SIGCHLD);
	/* The handlers run on the first thread alone: every EINTR of the others has another cause. */
	pthread_sigmask(SIG_BLOCK, &queued, NULL);
	pthread_sigmask(SIG_BLOCK, &alarms_only, NULL);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	if (pipe2(pipe_ends, O_CLOEXEC) != 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return 2;
	for (size_t i = 0; i < sizeof lives / sizeof *lives; i++)
		pthread_create(&threads[i], NULL, lives[i], NULL);
	pthread_sigmask(SIG_UNBLOCK, &alarms_only, NULL);
	int descriptors = count_descriptors();
	uint64_t vdso = sum_vdso();
	setitimer(ITIMER_REAL, &every, NULL);
	getrusage(RUSAGE_SELF, &at_start);
	int64_t started_us = now_us();
	puts("ready");
	fflush(stdout);
	for (char byte;;) {
		ssize_t got = read(0, &byte, 1);
		if (got == 0 || (got < 0 && errno != EINTR))
			break;
		if (write(pipe_ends[1], "x", 1) != 1)
			return 2;
	}
	int64_t lived_us = now_us() - started_us;
	memset(&every, 0, sizeof every);
	setitimer(ITIMER_REAL, &every, NULL);
	int descriptors_after = count_descriptors();
	getrusage(RUSAGE_SELF, &at_end);
	ending = 1;
	close(pipe_ends[1]);
	for (size_t i = 0; i < sizeof lives / sizeof *lives; i++)
		pthread_join(threads[i], NULL);
	long lost_signals = signals_sent - signals_got;
	long extra_sigchlds = sigchlds > children ? sigchlds - children : 0;
	int vdso_changed = sum_vdso() != vdso;
	int leaked = descriptors_after - descriptors;
	long alarms_due = (long)(lived_us / 20000), alarms_missed = alarms_due - alarms;
	long ticks_due = (long)(lived_us / 10000), ticks_missed = ticks_due - timer_ticks;
	printf("{\"eintr\": %ld, \"lost_signals\": %ld, \"extra_sigchlds\": %ld, \"unknown_children\": %ld, "
	       "\"wall_children\": %ld, \"wrong_children\": %ld, \"checksum_errors\": %ld, \"vector_errors\": %ld, "
	       "\"ghost_events\": %ld, \"descriptors\": %d, \"vdso_changed\": %d, \"ticks_missed\": %ld, "
	       "\"alarms_missed\": %ld, \"tracer_seen\": %ld, \"longest_gap_ms\": %.1f, \"minor_faults\": %ld, "
	       "\"signals\": %ld, \"children\": %ld}\n",
	       eintr, lost_signals, extra_sigchlds, unknown_children, wall_children, wrong_children,
	       checksum_errors, vector_errors, ghost_events, leaked, vdso_changed, ticks_missed, alarms_missed, tracer_seen,
	       longest_gap_us / 1e3, at_end.ru_minflt - at_start.ru_minflt, signals_sent, children);
	return eintr || lost_signals || unknown_children || wrong_children || checksum_errors ||
	       vector_errors || ghost_events || leaked || vdso_changed || ticks_missed > 2;
}
