// mongodb-stitch 3.18.0: `kit.sdk` is its module. It never asks where to, logs guests in by GET, and reads the profile
// only when it is told to.

kit.suite = ({ base, app: id, where }) => {
  const { check, email, equal, ok, operator, rejected, requests, seen, types, FORGED, PASSWORD } = kit;

  const LOGIN = "GET {a}/auth/providers/anon-user/login -";
  const EMAIL_LOGIN = "POST {a}/auth/providers/local-userpass/login -";
  const LINK = "POST {a}/auth/providers/local-userpass/login?link=true A";
  const PROFILE = "GET /auth/profile A";
  const REFRESH = "POST /auth/session R";
  const LOG_OUT = "DELETE /auth/session R";

  const stored = new Map();
  const storage = {
    getItem: (key) => stored.get(key) ?? null,
    setItem: (key, value) => void stored.set(key, value),
    removeItem: (key) => void stored.delete(key),
  };
  const options = where === "node" ? { storageType: "customStorage", storage } : {};
  const start = (clientAppId = id) => kit.sdk.StitchClientFactory.create(clientAppId, { baseUrl: base, ...options });
  const told = (error) => [error.code, error.message];
  const read = (error) => [error.response.status, error.json.error_code, error.json.error];

  kit.reset = async () => {
    stored.clear();
    if (where !== "node") {
      localStorage.clear();
    }
  };

  async function guest() {
    const client = await start();
    await client.login();
    await requests();
    return client;
  }

  async function linked() {
    const client = await guest();
    const address = email();
    await client.register(address, PASSWORD);
    await client.linkWithProvider("userpass", { username: address, password: PASSWORD });
    await requests();
    return [client, address];
  }

  check("1 2", "a guest logs in by one request", async () => {
    const client = await start();
    equal(client.isAuthenticated(), false);
    const user = await client.login();

    ok(/^[0-9a-f]{24}$/.test(user), `the id is ${user}`);
    equal([client.authedId(), client.isAuthenticated()], [user, true]);
    const [login, ...others] = await requests();
    equal([others.length, login.port, login.method, login.kind, login.status], [0, "front", "GET", "-", 200]);
    const device = JSON.parse(atob(decodeURIComponent(login.query.replace("device=", ""))));
    equal([device.appId, device.deviceId], [id, undefined]);
    equal((await operator("facts", user)).is_guest, true);
  });

  check("4", "the device comes back", async () => {
    const client = await guest();
    const device = client.auth.getDeviceId();
    ok(/^[0-9a-f]{24}$/.test(device) && !/^0+$/.test(device), `the device is ${device}`);
    await client.logout();
    await client.login();
    const login = (await requests()).find((one) => one.path.endsWith("/login"));
    equal(JSON.parse(atob(decodeURIComponent(login.query.replace("device=", "")))).deviceId, device);
    equal(client.auth.getDeviceId(), device);
  });

  check("5", "the profile of a guest is empty", async () => {
    const client = await guest();
    const profile = await client.userProfile();
    equal(await seen(), [PROFILE]);
    equal([profile.user_id, profile.type, profile.data], [client.authedId(), "normal", {}]);
    ok(/^[0-9a-f]{24}$/.test(profile.domain_id), `the domain is ${profile.domain_id}`);
    equal(types(profile.identities), ["anon-user"]);
    equal(Object.keys(profile.identities[0]).sort(), ["id", "provider_id", "provider_type"]);
  });

  check("6", "a second anonymous login asks nobody", async () => {
    const client = await guest();
    equal(await client.login(), client.authedId());
    equal(await seen(), []);
  });

  check("11", "who comes back is still there, and nobody is asked", async () => {
    const client = await guest();
    const again = await start();
    equal([again.isAuthenticated(), again.authedId()], [true, client.authedId()]);
    equal(again.auth.getAccessToken(), client.auth.getAccessToken());
    equal(again.auth.getRefreshToken(), client.auth.getRefreshToken());
    equal(await seen(), []);
    equal((await again.userProfile()).user_id, client.authedId());
  });

  check("14", "an access token that is refused is replaced", async () => {
    const client = await guest();
    client.auth.auth.accessToken = FORGED;
    const profile = await client.userProfile();
    equal(profile.user_id, client.authedId());

    const [refused, refresh, again, ...others] = await requests();
    equal(others, []);
    equal([refused.bearer, refused.status, refused.type], [FORGED, 401, "application/json"]);
    equal([refresh.bearer, refresh.status], [client.auth.getRefreshToken(), 201]);
    equal(Object.keys(JSON.parse(refresh.answer)), ["access_token"]);
    equal([again.bearer, again.status], [client.auth.getAccessToken(), 200]);
  });

  check("14", "so is one that a function is called with", async () => {
    const client = await guest();
    client.auth.auth.accessToken = FORGED;
    equal(told(await rejected(client.executeFunction("greet", 1))), ["FunctionNotFound", "function not found: 'greet'"]);
    equal(await seen(), ["POST {a}/functions/call A", REFRESH, "POST {a}/functions/call A"]);
    equal(client.isAuthenticated(), true);
  });

  check("15 39", "a guest whose sessions were ended is told so, once", async () => {
    const client = await guest();
    const user = client.authedId();
    await operator("revoke", user);
    equal(told(await rejected(client.userProfile()))[0], "InvalidSession");
    equal(await seen(), [PROFILE, REFRESH]);
    equal(client.isAuthenticated(), false);
    ok((await client.login()) !== user, "the guest has come back");
  });

  check("39", "so is who refreshes", async () => {
    const client = await guest();
    await operator("revoke", client.authedId());
    equal(told(await rejected(client.auth.refreshToken()))[0], "InvalidSession");
    equal(await seen(), [REFRESH]);
    equal(client.isAuthenticated(), false);
  });

  check("16", "who logs out", async () => {
    const client = await guest();
    const [user, refreshToken] = [client.authedId(), client.auth.getRefreshToken()];
    await client.logout();
    const [request, ...others] = await requests();
    equal([others.length, request.method, request.bearer === refreshToken, request.status], [0, "DELETE", true, 204]);
    equal([request.type, request.answer], [null, ""]);
    equal(client.isAuthenticated(), false);
    ok((await client.login()) !== user, "the guest has come back");
  });

  check("17", "who logs out after the session has ended forgets it all the same", async () => {
    const client = await guest();
    await operator("revoke", client.authedId());
    await client.logout();
    equal(await seen(), [LOG_OUT]);
    equal(client.isAuthenticated(), false);
  });

  check("18", "the same address logs in twice", async () => {
    const client = await start();
    const address = email();
    await client.register(address, PASSWORD);
    await requests();
    const user = await client.login(address, PASSWORD);
    equal(await seen(), [EMAIL_LOGIN]);
    equal(await client.login(address, PASSWORD), user);
    equal(await seen(), [LOG_OUT, EMAIL_LOGIN]);
    equal(types((await client.userProfile()).identities), ["local-userpass"]);
  });

  check("19 21", "a guest keeps the account by an address, and comes back with it", async () => {
    const client = await guest();
    const address = email();
    const [user, accessToken, refreshToken] = [
      client.authedId(),
      client.auth.getAccessToken(),
      client.auth.getRefreshToken(),
    ];
    await client.register(address, PASSWORD);
    await requests();
    const same = await client.linkWithProvider("userpass", { username: address, password: PASSWORD });

    const [link, ...others] = await requests();
    equal([others.length, link.query, link.bearer, link.status], [0, "link=true", accessToken, 200]);
    equal([same, client.authedId(), client.auth.getRefreshToken()], [user, user, refreshToken]);
    ok(client.auth.getAccessToken() !== accessToken, "the access token is the old one");
    const profile = await client.userProfile();
    equal([types(profile.identities), profile.data], [["anon-user", "local-userpass"], { email: address }]);
    equal((await operator("facts", user)).is_guest, false);
    await client.auth.refreshToken();

    await client.logout();
    equal(await client.login(address, PASSWORD), user);
  });

  check("22", "an address of somebody else", async () => {
    const address = email();
    const other = await start();
    await other.register(address, PASSWORD);
    await other.login(address, PASSWORD);
    await kit.reset();
    const client = await guest();
    const error = await rejected(client.linkWithProvider("userpass", { username: address, password: PASSWORD }));

    equal(read(error), [409, "AccountNameInUse", "a user already exists with the specified provider"]);
    equal(await seen(), [LINK]);
    equal(types((await client.userProfile()).identities), ["anon-user"]);
  });

  check("23 24", "a second address is refused, the same one again does nothing", async () => {
    const [client, address] = await linked();
    const user = client.authedId();
    const second = email();
    await client.register(second, PASSWORD);
    await requests();
    const error = await rejected(client.linkWithProvider("userpass", { username: second, password: PASSWORD }));
    equal(read(error).slice(0, 2), [400, "BadRequest"]);
    equal(await seen(), [LINK]);
    equal(await client.linkWithProvider("userpass", { username: address, password: PASSWORD }), user);
    equal(types((await client.userProfile()).identities), ["anon-user", "local-userpass"]);
  });

  check("25 26", "what cannot be registered", async () => {
    const client = await guest();
    const address = email();
    await client.register(address, PASSWORD);
    equal(read(await rejected(client.register(address, PASSWORD))), [
      409,
      "AccountNameInUse",
      "name already in use",
    ]);
    for (const length of [5, 129]) {
      const error = await rejected(client.register(email(), "x".repeat(length)));
      equal(read(error), [400, "BadRequest", "password must be between 6 and 128 characters"]);
    }
    equal(client.isAuthenticated(), true);
  });

  check("27 28 29", "an address is confirmed by mail", async () => {
    await operator("auto_confirm", false);
    try {
      const client = await guest();
      const address = email();
      const userpass = client.auth.provider("userpass");
      await client.register(address, PASSWORD);
      const link = await rejected(client.linkWithProvider("userpass", { username: address, password: PASSWORD }));
      equal(read(link), [400, "AuthError", "confirmation required"]);
      equal((read(await rejected(userpass.emailConfirm("junk", "junk"))))[2], "invalid token data");
      const { token, tokenId } = await operator("mailed", address);
      await userpass.emailConfirm(tokenId, token);
      equal((read(await rejected(userpass.sendEmailConfirm(address))))[2], "already confirmed");
      await client.linkWithProvider("userpass", { username: address, password: PASSWORD });
    } finally {
      await operator("auto_confirm", true);
    }
  });

  check("28", "a password is reset by mail", async () => {
    const [client, address] = await linked();
    const user = client.authedId();
    const userpass = client.auth.provider("userpass");
    equal((read(await rejected(userpass.passwordReset("junk", "junk", "another horse 2"))))[2], "invalid token data");
    await userpass.sendPasswordReset(address);
    const { token, tokenId } = await operator("mailed", address);
    await userpass.passwordReset(tokenId, token, "another horse 2");
    equal(await (await start()).login(address, "another horse 2"), user);
  });

  check("40", "a guest who was disabled for a while is the same one", async () => {
    const client = await guest();
    const user = client.authedId();
    const refreshToken = client.auth.getRefreshToken();
    await operator("disable", user);
    equal(told(await rejected(client.userProfile()))[0], "UserDisabled");
    equal(told(await rejected(client.auth.refreshToken()))[0], "UserDisabled");
    equal(await seen(), [PROFILE, REFRESH]);
    equal([client.authedId(), client.auth.getRefreshToken()], [user, refreshToken]);

    await operator("enable", user);
    await client.auth.refreshToken();
    equal((await client.userProfile()).user_id, user);
  });

  check("", "a guest of the other SDK comes in as the same person", async () => {
    const { access_token: token } = await kit.guestOfAuthgear();
    const client = await start();
    const user = await client.authenticate("custom", token);
    equal(await seen(), ["POST {a}/auth/providers/custom-token/login -"]);
    equal(types((await client.userProfile()).identities), ["anon-user"]);
    equal(await operator("facts", user), { sub: kit.claims(token).sub, is_guest: true });
    equal(read(await rejected(client.authenticate("custom", FORGED)))[1], "AuthProviderNotFound");
  });

  check("1", "an app that there is none of", async () => {
    const error = await rejected((await start("no-such-app-zzzzz")).login());
    equal(read(error).slice(0, 2), [404, "AppNotFound"]);
  });
};
