from dj_rest_auth.registration import serializers


class RegisterSerializer(serializers.RegisterSerializer):
    """dj-rest-auth asks for a user name, which nobody has here."""

    username = None
