"""What the services need of the outside, one ``typing.Protocol`` a file, named by capability."""
