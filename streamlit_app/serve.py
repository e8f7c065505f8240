"""Runs Streamlit without its request for the external IP address."""

from __future__ import annotations


def main() -> None:
    """Run `streamlit` with the arguments of this process."""
    from streamlit import net_util
    from streamlit.web import cli

    # for an unknown origin it would ask a host on the internet for this machine's public address
    net_util.get_external_ip = lambda: None
    cli.main(prog_name="streamlit")


if __name__ == "__main__":
    main()
