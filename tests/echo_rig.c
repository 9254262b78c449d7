#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "echo_rig.h"
#include "fake.h"
#include "kvm_rig.h"

char echo_net[128], echo_vsock[128], echo_vsock_too[128];
static char peer[3072], folder[64];
static pid_t echo[2];

void echo_setup(const char *argv0)
{
	const char *slash = strrchr(argv0, '/');

	snprintf(peer, sizeof(peer), "%.*s/peer", slash ? (int)(slash - argv0) : 1,
		 slash ? argv0 : ".");
}

static const char *in_folder(const char *name)
{
	static char path[96];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static pid_t start(const char *socket)
{
	char address[160];
	pid_t pid;

	snprintf(address, sizeof(address), "unix-listen:%s", socket);
	pid = fork();
	require(pid >= 0);
	if (!pid) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(null, STDOUT_FILENO);
		execl(peer, peer, "echo", address, "1000", NULL);
		_exit(127);
	}
	for (unsigned i = 0; i < 5000 && access(socket, F_OK); i++)
		sleep_ms(1);
	require(!access(socket, F_OK));
	return pid;
}

void echo_begin(void)
{
	snprintf(folder, sizeof(folder), "/tmp/hutch-echo.XXXXXX");
	require(mkdtemp(folder) != NULL);
	snprintf(echo_net, sizeof(echo_net), "user,socket=%s/net", folder);
	snprintf(echo_vsock, sizeof(echo_vsock), "path=%s/v", folder);
	snprintf(echo_vsock_too, sizeof(echo_vsock_too), "path=%s/w", folder);
	echo[0] = start(in_folder("net"));
	echo[1] = start(in_folder("v_1234"));
	require(!symlink("v_1234", in_folder("w_1234")));
}

void echo_end(void)
{
	for (unsigned i = 0; i < 2; i++) {
		kill(echo[i], SIGKILL);
		waitpid(echo[i], NULL, 0);
	}
	unlink(in_folder("net"));
	unlink(in_folder("w_1234"));
	unlink(in_folder("v_1234"));
	require(!rmdir(folder));
}
