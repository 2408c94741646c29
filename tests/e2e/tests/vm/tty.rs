//! `tty = true`: a terminal of the container's own.

use e2e::{Case, Terminal, Who, case};

fn terminal(case: &Case, script: &str, size: (u16, u16)) -> Terminal {
    case.root("root");
    let text =
        format!("rootfs = \"./root\"\ntty = true\ncommand = [\"sh\", \"-c\", '''{script}''']\n");
    Terminal::run(case, &text, size)
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn the_program_has_a_terminal_of_the_right_size_from_the_start() {
    case(Who::Root, |case| {
        let script = "test -t 0 && test -t 1 && test -t 2 && tty && stty size && exec 3</dev/tty && echo controlling";
        let (status, text) = terminal(case, script, (31, 97)).end();
        assert_eq!(status, Some(0), "{text}");
        assert_eq!(text, "/dev/pts/0\r\n31 97\r\ncontrolling\r\n");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_user_has_a_terminal_too() {
    case(Who::User, |case| {
        let (status, text) = terminal(case, "tty; stty size", (24, 80)).end();
        assert_eq!(status, Some(0), "{text}");
        assert_eq!(text, "/dev/pts/0\r\n24 80\r\n");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn resizing_the_window_reaches_the_program() {
    case(Who::Root, |case| {
        let script = "trap 'stty size; exit 4' WINCH; echo up; while :; do sleep 0.1; done";
        let mut terminal = terminal(case, script, (24, 80));
        terminal.wait_for("up");
        terminal.resize((50, 132));
        let (status, text) = terminal.end();
        assert_eq!(status, Some(4), "{text}");
        assert!(text.contains("50 132"), "{text}");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn ctrl_c_interrupts_the_program_and_not_ctr() {
    case(Who::Root, |case| {
        let script = "trap 'echo interrupted; exit 6' INT; echo up; while :; do sleep 0.1; done";
        let mut terminal = terminal(case, script, (24, 80));
        terminal.wait_for("up");
        terminal.type_in("\u{3}");
        let (status, text) = terminal.end();
        assert_eq!(status, Some(6), "{text}");
        assert!(text.contains("interrupted"), "{text}");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn what_is_typed_is_read_and_ctrl_d_ends_it() {
    case(Who::Root, |case| {
        let mut terminal = terminal(case, "echo up; cat; echo end", (24, 80));
        terminal.wait_for("up");
        terminal.type_in("hello\r");
        // Once echoed by the terminal, once by cat.
        terminal.wait_for("hello\r\nhello\r\n");
        terminal.type_in("\u{4}");
        let (status, text) = terminal.end();
        assert_eq!(status, Some(0), "{text}");
        assert!(text.ends_with("end\r\n"), "{text}");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn without_tty_the_program_cannot_reach_the_callers_terminal() {
    case(Who::Root, |case| {
        case.root("root");
        let text =
            "rootfs = \"./root\"\ncommand = [\"sh\", \"-c\", \"exec 3</dev/tty || echo none\"]\n";
        let (_, text) = Terminal::run(case, text, (24, 80)).end();
        assert!(text.contains("/dev/tty"), "{text}");
    });
}
