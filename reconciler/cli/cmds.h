/* cli/cmds.h - the functions that rows of the command table name; all return the exit status. */
#ifndef CLI_CMDS_H
#define CLI_CMDS_H

struct cli;

/* cmd_apply.c */
int cmd_validate(struct cli *cli);
int cmd_diff(struct cli *cli);
int cmd_apply(struct cli *cli);
int cmd_delete(struct cli *cli);
int cmd_rollback(struct cli *cli);
/* cmd_ps.c */
int cmd_ps(struct cli *cli);
int cmd_show(struct cli *cli);
/* cmd_vm.c */
int cmd_create(struct cli *cli);
int cmd_set(struct cli *cli);
int cmd_start(struct cli *cli);
int cmd_stop(struct cli *cli);
int cmd_restart(struct cli *cli);
int cmd_kill(struct cli *cli);
int cmd_delete_names(struct cli *cli);
int cmd_prune(struct cli *cli);
/* cmd_ssh.c, cmd_logs.c */
int cmd_ssh(struct cli *cli);
int cmd_logs(struct cli *cli);
/* cmd_guest.c */
int cmd_stats(struct cli *cli);
int cmd_ports(struct cli *cli);
int cmd_health(struct cli *cli);
int cmd_ping_guest(struct cli *cli);
/* cmd_run.c */
int cmd_exec(struct cli *cli);
int cmd_run(struct cli *cli);
/* cmd_cp.c, cmd_ssh_config.c */
int cmd_cp(struct cli *cli);
int cmd_ssh_config(struct cli *cli);
/* cmd_workspace.c */
int cmd_workspace_prepare(struct cli *cli);
int cmd_workspace_export(struct cli *cli);
int cmd_workspace_diff(struct cli *cli);
/* cmd_why.c */
int cmd_why(struct cli *cli);
/* cmd_events.c, cmd_history.c */
int cmd_history(struct cli *cli);
int cmd_history_show(struct cli *cli);
int cmd_events(struct cli *cli);
/* cmd_watch.c */
int cmd_watch(struct cli *cli);
int cmd_unwatch(struct cli *cli);
/* cmd_image.c */
int cmd_image_pull(struct cli *cli);
int cmd_image_list(struct cli *cli);
int cmd_image_show(struct cli *cli);
int cmd_image_delete(struct cli *cli);
/* cmd_op.c */
int cmd_op_list(struct cli *cli);
int cmd_op_show(struct cli *cli);
int cmd_op_wait(struct cli *cli);
/* cmd_host.c */
int cmd_resources(struct cli *cli);
int cmd_gc(struct cli *cli);
/* cmd_adopt.c */
int cmd_adopt(struct cli *cli);
/* cmd_daemon.c */
int cmd_daemon_start(struct cli *cli);
int cmd_daemon_stop(struct cli *cli);
int cmd_daemon_status(struct cli *cli);
int cmd_ping(struct cli *cli);
int cmd_doctor(struct cli *cli);
int cmd_version(struct cli *cli);
/* help.c, gen_man.c, gen_complete.c */
int cmd_help(struct cli *cli);
int cmd_gen_man(struct cli *cli);
int cmd_gen_man_vms(struct cli *cli);
int cmd_gen_schema(struct cli *cli);
int cmd_gen_bash(struct cli *cli);
int cmd_gen_zsh(struct cli *cli);
int cmd_names(struct cli *cli);

#endif
